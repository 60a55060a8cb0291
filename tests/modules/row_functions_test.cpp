#include <vector>

#include "modules/embedding.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/linear.h"
#include "modules/rms_norm.h"
#include "modules/swiglu.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

double tolerance(at::ScalarType dtype) {
  if (dtype == at::kDouble) return 1e-13;
  return dtype == at::kFloat ? 1e-5 : 0.02;
}

/// Widths around what a vector register holds, and more rows than one thread takes.
struct Shape {
  int64_t rows, width;
};
const std::vector<Shape> kShapes{{1, 1}, {3, 7}, {5, 64}, {300, 130}};

/// ATen computes with `count` threads while this lives.
class Threads final {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

at::Tensor leaf(const at::Tensor& values, at::ScalarType dtype) {
  return values.to(dtype).detach().clone().requires_grad_();
}

at::Tensor plain_rms_norm(const at::Tensor& x_NM, const at::Tensor& weight_M, double eps) {
  return x_NM / (x_NM.pow(2).mean(1, true) + eps).sqrt() * weight_M;
}

at::Tensor plain_swiglu(const at::Tensor& h_NX) {
  const auto halves = h_NX.chunk(2, 1);
  return at::silu(halves[0]) * halves[1];
}

TEST_CASE("rms_norm equals the plain formula, forward and backward, in every type") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat, at::kBFloat16);
  const Threads threads(GENERATE(1, 3));
  for (const auto& [rows, width] : kShapes) {
    CAPTURE(dtype, rows, width, at::get_num_threads());
    const at::Tensor x = leaf(test::random({rows, width}, 1), dtype);
    const at::Tensor weight = leaf(test::random({width}, 2) + 1.0, dtype);
    if (dtype == at::kBFloat16) weight.mutable_grad() = at::zeros({width}, at::kFloat);
    const at::Tensor exact_x = leaf(x, at::kDouble), exact_weight = leaf(weight, at::kDouble);
    const at::Tensor dy = test::random({rows, width}, 3).to(dtype);
    const at::Tensor y = rms_norm(x, weight, 1e-2);
    const at::Tensor exact_y = plain_rms_norm(exact_x, exact_weight, 1e-2);
    y.backward(dy);
    exact_y.backward(dy.to(at::kDouble));
    CHECK(y.scalar_type() == dtype);
    CHECK(test::distance(y, exact_y) < tolerance(dtype));
    CHECK(test::distance(x.grad(), exact_x.grad()) < 10 * tolerance(dtype));
    CHECK(test::distance(weight.grad(), exact_weight.grad()) < 10 * tolerance(dtype));
  }
}

TEST_CASE("swiglu equals the plain formula, forward and backward, in every type") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat, at::kBFloat16);
  for (const auto& [rows, width] : kShapes) {
    CAPTURE(dtype, rows, width);
    const at::Tensor h = leaf(test::random({rows, 2 * width}, 1, 3.0), dtype);
    const at::Tensor exact_h = leaf(h, at::kDouble);
    const at::Tensor dy = test::random({rows, width}, 3).to(dtype);
    const at::Tensor y = swiglu(h);
    const at::Tensor exact_y = plain_swiglu(exact_h);
    y.backward(dy);
    exact_y.backward(dy.to(at::kDouble));
    CHECK(test::distance(y, exact_y) < tolerance(dtype));
    CHECK(test::distance(h.grad(), exact_h.grad()) < tolerance(dtype));
  }
}

TEST_CASE("a feed-forward network has the gradient of finite differences") {
  SwigluMlp mlp(5, 4);
  test::randomize(*mlp, 60);
  const at::Tensor x_NM = leaf(test::random({3, 5}, 1), at::kDouble);
  const at::Tensor pull_NM = test::random({3, 5}, 2);
  (mlp(x_NM) * pull_NM).sum().backward();
  const auto f = [&] { return (mlp(x_NM.detach()) * pull_NM).sum().item<double>(); };
  CHECK(test::gradient_error(f, x_NM.detach(), x_NM.grad()) < 1e-8);
  for (const auto& item : mlp->named_parameters()) {
    CAPTURE(item.key());
    CHECK(test::gradient_error(f, item.value().detach(), item.value().grad()) < 1e-8);
  }
}

template <class T>
void check_rotation(at::ScalarType dtype) {
  using opmath = kernels::opmath_t<T>;
  const auto angle_type = c10::CppTypeToScalarType<opmath>::value;
  const int64_t heads = 3, stride = 11, dim = 6;
  at::Tensor x = test::random({heads, stride}, 1).to(dtype);
  const at::Tensor before = x.to(at::kDouble).clone();
  const at::Tensor angles = test::random({dim / 2}, 2);
  const at::Tensor cos = angles.cos().to(angle_type), sin = angles.sin().to(angle_type);
  for (int64_t h = 0; h < heads; ++h) {
    kernels::kernels<T>().rotate_pairs(x.mutable_data_ptr<T>() + h * stride + 5,
                                       cos.const_data_ptr<opmath>(), sin.const_data_ptr<opmath>(),
                                       dim / 2, opmath(1));
  }
  const at::Tensor even = before.slice(1, 5, 11, 2), odd = before.slice(1, 6, 11, 2);
  const at::Tensor turned = at::stack(
      {even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()}, 2);
  CHECK(x.slice(1, 0, 5).to(at::kDouble).equal(before.slice(1, 0, 5)));
  CHECK(test::distance(x.slice(1, 5), turned.view({heads, dim})) < tolerance(dtype));
}

TEST_CASE("rotation turns the pairs of each head by its angles, in every type") {
  check_rotation<double>(at::kDouble);
  check_rotation<float>(at::kFloat);
  check_rotation<c10::BFloat16>(at::kBFloat16);
}

TEST_CASE("linear gives dx and adds dW; a bf16 weight may have a float32 gradient") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat, at::kBFloat16);
  CAPTURE(dtype);
  const at::Tensor x = leaf(test::random({6, 5}, 1), dtype);
  const at::Tensor weight = leaf(test::random({4, 5}, 2), dtype);
  const auto gradient_type = dtype == at::kDouble ? at::kDouble : at::kFloat;
  weight.mutable_grad() = at::ones({4, 5}, gradient_type);
  const at::Tensor dy = test::random({6, 4}, 3).to(dtype);
  const at::Tensor y = nn::linear(x, weight);
  y.backward(dy);
  CHECK(test::distance(y, at::mm(x.to(at::kDouble), weight.to(at::kDouble).t())) <
        tolerance(dtype));
  CHECK(test::distance(x.grad(), at::mm(dy.to(at::kDouble), weight.to(at::kDouble))) <
        tolerance(dtype));
  CHECK(test::distance(weight.grad() - 1.0, at::mm(dy.to(at::kDouble).t(), x.to(at::kDouble))) <
        tolerance(dtype));
}

TEST_CASE("linear takes no rows and leaves the weight's gradient as it is") {
  const at::Tensor x = leaf(test::random({0, 5}, 1), at::kDouble);
  const at::Tensor weight = leaf(test::random({4, 5}, 2), at::kDouble);
  const at::Tensor y = nn::linear(x, weight);
  CHECK(y.sizes() == at::IntArrayRef({0, 4}));
  y.sum().backward();
  CHECK(gradient_of(weight).count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("embed adds a row for every time a token occurs") {
  const at::Tensor weight = leaf(test::random({4, 130}, 1), at::kDouble);
  const at::Tensor ids = torch::tensor({2, 0, 2, 2}, at::kLong);
  const at::Tensor dy = test::random({4, 130}, 2);
  const at::Tensor y = embed(ids, weight);
  CHECK(y.equal(weight.index_select(0, ids)));
  y.backward(dy);
  const at::Tensor wanted = at::zeros({4, 130}, at::kDouble).index_add(0, ids, dy);
  CHECK(test::gap(weight.grad(), wanted) < 1e-15);
}

}  // namespace
}  // namespace dsmoe::nn
