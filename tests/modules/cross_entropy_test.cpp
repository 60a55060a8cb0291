#include "modules/cross_entropy.h"

#include <limits>
#include <vector>

#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

constexpr int64_t kHidden = 4;

struct Case {
  at::Tensor h_NM, weight_VM, targets_N;
};

/// Every third target is missing, under different negative numbers.
Case make_case(int64_t rows, int64_t vocab) {
  auto generator = at::detail::createCPUGenerator(9);
  Case c{test::random({rows, kHidden}, 1).requires_grad_(),
         test::random({vocab, kHidden}, 2).requires_grad_(),
         at::randint(vocab, {rows}, generator, at::TensorOptions(at::kLong))};
  c.targets_N.slice(0, 1, rows, 6).fill_(-100);
  c.targets_N.slice(0, 4, rows, 6).fill_(-1);
  if (rows > 2) c.targets_N[2] = vocab - 1;
  return c;
}

struct Result {
  double loss;
  at::Tensor dh_NM, dweight_VM;
};

Result oracle(const Case& c, double scale) {
  const at::Tensor h = c.h_NM.detach().clone().requires_grad_();
  const at::Tensor weight = c.weight_VM.detach().clone().requires_grad_();
  const at::Tensor targets = c.targets_N.masked_fill(c.targets_N.lt(0), -100);
  const at::Tensor loss =
      at::cross_entropy_loss(at::mm(h, weight.t()), targets, {}, at::Reduction::Sum, -100);
  (loss * scale).backward();
  return {loss.item<double>(), h.grad(), weight.grad()};
}

Result ours(const Case& c, double scale) {
  const at::Tensor loss = cross_entropy_sum(c.h_NM, c.weight_VM, c.targets_N);
  REQUIRE(loss.scalar_type() == at::kDouble);
  REQUIRE(loss.dim() == 0);
  (loss * scale).backward();
  return {loss.item<double>(), c.h_NM.grad(), c.weight_VM.grad()};
}

void check_equal(const Case& c, double scale) {
  const Result wanted = oracle(c, scale);
  const Result got = ours(c, scale);
  CHECK(got.loss == Approx(wanted.loss).epsilon(1e-12));
  CHECK(test::distance(got.dh_NM, wanted.dh_NM) < 1e-12);
  CHECK(test::distance(got.dweight_VM, wanted.dweight_VM) < 1e-12);
}

TEST_CASE("the chunked cross-entropy equals the plain one in value and gradients") {
  const int64_t rows = GENERATE(1, 3, 50);
  CAPTURE(rows);
  check_equal(make_case(rows, 259), 0.25);
}

TEST_CASE("a vocabulary of which few rows fit a chunk: one, just one more, and three chunks") {
  const int64_t rows = GENERATE(64, 65, 130);  // 64 rows of 65536 logits are a chunk
  CAPTURE(rows);
  check_equal(make_case(rows, 65536), -2.0);
}

TEST_CASE("the gradient of the cross-entropy is that of finite differences") {
  const Case c = make_case(7, 5);
  const Result got = ours(c, 1.0);
  const auto f = [&] {
    return cross_entropy_sum(c.h_NM.detach(), c.weight_VM.detach(), c.targets_N).item<double>();
  };
  CHECK(test::gradient_error(f, c.h_NM.detach(), got.dh_NM) < 1e-8);
  CHECK(test::gradient_error(f, c.weight_VM.detach(), got.dweight_VM) < 1e-8);
}

TEST_CASE("the head's gradient is added to what is there") {
  const Case c = make_case(6, 11);
  const at::Tensor once = ours(c, 1.0).dweight_VM.clone();
  const at::Tensor twice = ours(c, 1.0).dweight_VM;
  CHECK(test::distance(twice, 2.0 * once) < 1e-14);
}

TEST_CASE("only missing targets, and no rows at all, give zero loss and zero gradient") {
  Case c = make_case(GENERATE(0, 4), 11);
  c.targets_N.fill_(-100);
  const Result got = ours(c, 1.0);
  CHECK(got.loss == 0.0);
  CHECK(got.dh_NM.sizes() == c.h_NM.sizes());
  CHECK(got.dh_NM.count_nonzero().item<int64_t>() == 0);
  CHECK(got.dweight_VM.count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("without gradients the cross-entropy makes none") {
  const Case c = make_case(6, 11);
  const double wanted = oracle(c, 1.0).loss;
  const at::NoGradGuard no_grad;
  const at::Tensor loss = cross_entropy_sum(c.h_NM, c.weight_VM, c.targets_N);
  CHECK(loss.item<double>() == Approx(wanted).epsilon(1e-12));
  CHECK_FALSE(loss.requires_grad());
  CHECK_FALSE(c.weight_VM.grad().defined());
}

TEST_CASE("huge logits do not overflow") {
  const at::Tensor h_NM = torch::tensor({{1000.0}}, at::kFloat);
  const at::Tensor weight_VM = torch::tensor({{-1.0}, {2.0}, {1.0}}, at::kFloat);
  const auto loss_of = [&](int64_t target) {
    return cross_entropy_sum(h_NM, weight_VM, torch::tensor({target}, at::kLong)).item<double>();
  };
  CHECK(loss_of(1) == Approx(0.0).margin(1e-6));
  CHECK(loss_of(0) == Approx(3000.0));
}

TEST_CASE("float32 and bf16 heads are near the float64 one, gradients in their own type") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const double tolerance = dtype == at::kFloat ? 1e-5 : 0.03;
  const Case exact = make_case(40, 300);
  const Result wanted = oracle(exact, 1.0);
  Case c = exact;
  c.h_NM = exact.h_NM.detach().to(dtype).requires_grad_();
  c.weight_VM = exact.weight_VM.detach().to(dtype).requires_grad_();
  c.weight_VM.mutable_grad() = at::zeros({300, kHidden}, at::kFloat);
  const Result got = ours(c, 1.0);
  CHECK(got.loss == Approx(wanted.loss).epsilon(tolerance));
  CHECK(got.dh_NM.scalar_type() == dtype);
  CHECK(got.dweight_VM.scalar_type() == at::kFloat);
  CHECK(test::distance(got.dh_NM, wanted.dh_NM) < tolerance);
  CHECK(test::distance(got.dweight_VM, wanted.dweight_VM) < tolerance);
}

}  // namespace
}  // namespace dsmoe::nn
