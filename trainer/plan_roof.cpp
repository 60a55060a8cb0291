#include "trainer/plan_roof.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "trainer/memory_estimate.h"

namespace dsmoe::train {
namespace {

double distance(const config::MeasuredProduct& a, const ProductWork& b) {
  const auto apart = [](int64_t x, double y) {
    return std::abs(std::log(static_cast<double>(x) / y));
  };
  return apart(a.m, b.m) + apart(a.k, b.k) + apart(a.n, b.n);
}

ProductWork shape_of(const config::MeasuredProduct& product) {
  return {static_cast<double>(product.m), static_cast<double>(product.k),
          static_cast<double>(product.n)};
}

}  // namespace

Roof::Roof(const config::ClusterConfig& cluster, config::Precision precision)
    : cluster_(cluster),
      peak_(cluster.compute.peak(precision)),
      width_(static_cast<double>(widths_of(precision).compute)),
      gradient_width_(static_cast<double>(widths_of(precision).master)) {}

double Roof::law(const ProductWork& p) const {
  const config::ComputeSpeed& c = cluster_.compute;
  const double smallest = std::min({p.m, p.k, p.n});
  const double speed = peak_ * c.gemm_efficiency * smallest / (smallest + c.gemm_half_size);
  const double arithmetic = 2 * p.m * p.k * p.n / speed;
  const double result = p.adds ? 2 * gradient_width_ : width_;
  const double bytes = width_ * (p.m * p.k + p.k * p.n) + result * p.m * p.n;
  return std::max(arithmetic, seconds_of_bytes(bytes));
}

double Roof::correction(const ProductWork& p) const {
  double nearest = std::numeric_limits<double>::infinity(), factor = 1;
  for (const config::MeasuredProduct& one : cluster_.compute.products) {
    const double apart = distance(one, p);
    if (apart >= nearest) continue;
    nearest = apart;
    factor = one.seconds / law(shape_of(one));
  }
  return factor;
}

double Roof::seconds(const ProductWork& product) const {
  if (product.count == 0 || product.m == 0) return 0;
  return product.count * law(product) * correction(product);
}

double Roof::seconds_of_bytes(double bytes) const { return bytes / cluster_.memory.bandwidth; }

double Roof::seconds(const Work& work) const {
  const config::ComputeSpeed& c = cluster_.compute;
  const double passes = cluster_.memory.cache_bandwidth > 0 ? cluster_.memory.cache_bandwidth
                                                            : cluster_.memory.bandwidth;
  double sum = work.bytes / passes + work.operations * c.operation_seconds +
               work.attention_forward / (peak_ * c.attention_efficiency) +
               work.attention_backward / (peak_ * c.attention_backward_efficiency);
  for (const ProductWork& product : work.products) sum += seconds(product);
  return sum;
}

}  // namespace dsmoe::train
