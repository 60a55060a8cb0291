#include "modules/loss_units.h"

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

at::Tensor mean_of(const at::Tensor& x_NX, const LossUnits& units) {
  return share_of_mean(x_NX, units, count_tokens(units));
}

TEST_CASE("means are over the rows that count, zero where none does") {
  const at::Tensor x_NX = test::random({9, 4}, 1);
  const at::Tensor all_UX = mean_of(x_NX, LossUnits::each(kPieces));
  CHECK(test::gap(all_UX[0], x_NX.slice(0, 0, 3).mean(0)) < 1e-15);
  CHECK(test::gap(all_UX[3], x_NX.slice(0, 4).mean(0)) < 1e-15);
  CHECK(all_UX[1].count_nonzero().item<int64_t>() == 0);
  const auto some = LossUnits::each(kPieces, some_valid());
  const at::Tensor valid_UX = mean_of(x_NX, some);
  CHECK(test::gap(valid_UX[0], (x_NX[0] + x_NX[2]) / 2) < 1e-15);
  CHECK(valid_UX[2].count_nonzero().item<int64_t>() == 0);
  CHECK(count_tokens(some).equal(torch::tensor({2, 0, 0, 4})));
  CHECK(mean_of(x_NX.to(at::kFloat), some).scalar_type() == at::kFloat);
}

TEST_CASE("pieces of one unit are one mean, and tokens elsewhere count in the divisor") {
  const at::Tensor x_NX = test::random({9, 4}, 1);
  const LossUnits units{kPieces, {1, 0, 0, 1}, 2};
  CHECK(count_tokens(units).equal(torch::tensor({1, 8})));
  const at::Tensor mean_UX = share_of_mean(x_NX, units, torch::tensor({4, 8}));
  CHECK(test::gap(mean_UX[0], x_NX[3] / 4) < 1e-15);
  CHECK(test::gap(mean_UX[1], (x_NX.sum(0) - x_NX[3]) / 8) < 1e-15);
}

TEST_CASE("a mean's gradient is that of finite differences") {
  const at::Tensor valid_N = GENERATE(at::Tensor(), some_valid());
  const LossUnits units{kPieces, {1, 0, 0, 1}, 2, valid_N};
  const at::Tensor x_NX = test::random({9, 4}, 1).requires_grad_();
  const at::Tensor pull_UX = test::random({2, 4}, 2);
  (mean_of(x_NX, units) * pull_UX).sum().backward();
  const auto f = [&] { return (mean_of(x_NX.detach(), units) * pull_UX).sum().item<double>(); };
  CHECK(test::gradient_error(f, x_NX.detach(), x_NX.grad()) < 1e-8);
}

}  // namespace
}  // namespace dsmoe::nn
