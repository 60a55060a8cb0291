#include "tests/support/checks.h"

#include <ATen/core/Formatting.h>

#include <cstring>
#include <sstream>

namespace dsmoe::test {
namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const auto left = a.contiguous();
  const auto right = b.contiguous();
  return left.numel() == 0 ||
         std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

std::string describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.scalar_type() << " " << tensor.sizes();
  if (tensor.numel() <= 64) text << "\n" << tensor;
  return text.str();
}

}  // namespace

void Checks::that(bool ok, const std::string& what) {
  if (!ok) failures_.push_back(what);
}

void Checks::equal(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  if (same_bits(actual, expected)) return;
  that(false, what + ": is " + describe(actual) + "\nshould be " + describe(expected));
}

void Checks::equal(int64_t actual, int64_t expected, const std::string& what) {
  that(actual == expected,
       what + " is " + std::to_string(actual) + ", should be " + std::to_string(expected));
}

}  // namespace dsmoe::test
