// The norm of gradients: by the host's blocks and by LibTorch's operation, which devices compute
// with.
#include <ATen/ops/randn.h>

#include "parallel/grad_sync.h"
#include "tests/support/catch.h"

namespace dsmoe::test {
namespace {

TEST_CASE("the sum of squares on a device is the host's") {
  for (const auto type : {at::kDouble, at::kFloat}) {
    for (const int64_t count : {0, 1, 1000, 100'003}) {
      CAPTURE(type, count);
      const at::Tensor values = at::randn({count}, type);
      const double wanted = values.to(at::kDouble).square().sum().item<double>();
      CHECK(parallel::sum_of_squares(values) == Approx(wanted).epsilon(1e-12));
      CHECK(parallel::sum_of_squares_on_device(values) == Approx(wanted).epsilon(1e-12));
    }
  }
}

}  // namespace
}  // namespace dsmoe::test
