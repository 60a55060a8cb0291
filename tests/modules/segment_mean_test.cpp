#include "modules/segment_mean.h"

#include <vector>

#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

const Segments kPieces({0, 3, 3, 4, 9});

at::Tensor some_valid() {
  return torch::tensor({true, false, true, false, true, true, true, false, true});
}

TEST_CASE("a row belongs to the segment that covers it, empty ones cover none") {
  std::vector<int64_t> owners;
  for (int64_t row = 0; row < kPieces.rows(); ++row) owners.push_back(kPieces.at(row));
  CHECK(owners == std::vector<int64_t>{0, 0, 0, 2, 3, 3, 3, 3, 3});
  CHECK(kPieces.longest() == 5);
  CHECK(Segments().count() == 0);
  CHECK(Segments::uniform(3, 4).starts() == std::vector<int64_t>{0, 4, 8, 12});
}

TEST_CASE("means are over the rows that count, zero where none does") {
  const at::Tensor x_NX = test::random({9, 4}, 1);
  const at::Tensor all_SX = segment_mean(x_NX, kPieces, {});
  CHECK(test::gap(all_SX[0], x_NX.slice(0, 0, 3).mean(0)) < 1e-15);
  CHECK(test::gap(all_SX[3], x_NX.slice(0, 4).mean(0)) < 1e-15);
  CHECK(all_SX[1].count_nonzero().item<int64_t>() == 0);
  const at::Tensor valid_SX = segment_mean(x_NX, kPieces, some_valid());
  CHECK(test::gap(valid_SX[0], (x_NX[0] + x_NX[2]) / 2) < 1e-15);
  CHECK(valid_SX[2].count_nonzero().item<int64_t>() == 0);
  CHECK(count_rows(kPieces, some_valid()).equal(torch::tensor({2, 0, 0, 4})));
  CHECK(segment_mean(x_NX.to(at::kFloat), kPieces, {}).scalar_type() == at::kFloat);
}

TEST_CASE("a mean's gradient is that of finite differences") {
  const at::Tensor valid_N = GENERATE(at::Tensor(), some_valid());
  const at::Tensor x_NX = test::random({9, 4}, 1).requires_grad_();
  const at::Tensor pull_SX = test::random({4, 4}, 2);
  (segment_mean(x_NX, kPieces, valid_N) * pull_SX).sum().backward();
  const auto f = [&] {
    return (segment_mean(x_NX.detach(), kPieces, valid_N) * pull_SX).sum().item<double>();
  };
  CHECK(test::gradient_error(f, x_NX.detach(), x_NX.grad()) < 1e-8);
}

}  // namespace
}  // namespace dsmoe::nn
