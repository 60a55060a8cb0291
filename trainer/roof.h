#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::train {

/// A matrix product [m, k] x [k, n] and how fast at::matmul does it here.
struct RoofPoint {
  std::string name;
  int64_t m = 0;
  int64_t k = 0;
  int64_t n = 0;
  double flops_per_second = 0;
};

/// Measures `point` on `device`, with the threads and dtype in use: the best of a few repetitions.
void measure(RoofPoint& point, config::Precision precision, at::Device device = at::kCPU);

/// The 2048^3 square that speeds are quoted against, then the products of the model itself.
[[nodiscard]] std::vector<RoofPoint> roof_points(const config::RunConfig& config);

}  // namespace dsmoe::train
