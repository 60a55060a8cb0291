#include "trainer/speed_probes.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>

#include "modules/causal_attention.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/rms_norm.h"
#include "modules/swiglu.h"
#include "trainer/checkpoint.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

constexpr int kRepetitions = 5;
constexpr double kSeconds = 0.15;

/// Seconds of a call: the mean, since a step is a sum of them.
double seconds_of(const std::function<void()>& call) {
  call();
  const Stopwatch watch;
  int64_t calls = 0;
  do {
    call();
    ++calls;
  } while (watch.seconds() < kSeconds);
  return watch.seconds() / static_cast<double>(calls);
}

int64_t whole(double value) { return std::max<int64_t>(1, std::llround(value)); }

/// Operands that together are larger than caches, or as many as there are.
constexpr int64_t kOperandBytes = int64_t{64} << 20;

class Products {
 public:
  Products(const ProductWork& product, at::ScalarType dtype) : adds_(product.adds) {
    const int64_t m = whole(product.m), k = whole(product.k), n = whole(product.n);
    const int64_t bytes = (m * k + k * n + m * n) * 4;
    const int64_t sets = std::clamp<int64_t>(kOperandBytes / bytes, 2, 64);
    for (int64_t i = 0; i < sets; ++i) {
      left_.push_back(at::rand(adds_ ? at::IntArrayRef{k, m} : at::IntArrayRef{m, k}, dtype));
      right_.push_back(at::rand({k, n}, dtype));
      const auto precise = dtype == at::kDouble ? at::kDouble : at::kFloat;
      result_.push_back(at::zeros({m, n}, adds_ ? precise : dtype));
    }
  }

  void multiply() {
    const size_t i = next_++ % left_.size();
    if (adds_) return nn::add_weight_gradient(result_[i], left_[i], right_[i]);
    at::mm_out(result_[i], left_[i], right_[i]);
  }

 private:
  bool adds_;
  std::vector<at::Tensor> left_, right_, result_;
  size_t next_ = 0;
};

/// Rows of a micro-batch, as numbers.
int64_t rows_of(const config::RunConfig& config) {
  return config.batch.micro_sequences * config.data.sequence_length;
}

at::Tensor random_rows(const config::RunConfig& config, int64_t width, bool gradient) {
  return at::rand({rows_of(config), width}, compute_dtype(config.run.precision))
      .set_requires_grad(gradient);
}

}  // namespace

double probe_product(const ProductWork& product, config::Precision precision) {
  const at::NoGradGuard no_grad;
  Products products(product, compute_dtype(precision));
  return seconds_of([&] { products.multiply(); });
}

AttentionSeconds probe_attention(const config::RunConfig& config) {
  const config::ModelConfig& m = config.model;
  const int64_t heads = m.num_attention_heads, groups = m.is_mla() ? heads : m.key_value_heads();
  const auto dtype = compute_dtype(config.run.precision);
  const at::Tensor q_NX = random_rows(config, heads * m.qk_head_dim(), /*gradient=*/true);
  const at::Tensor kv_NX =
      random_rows(config, groups * (m.qk_nope_head_dim + m.v_head_dim), /*gradient=*/true);
  const at::Tensor key_NX =
      random_rows(config, (m.is_mla() ? 1 : groups) * m.qk_rope_head_dim, /*gradient=*/true);
  const auto segments =
      nn::Segments::uniform(config.batch.micro_sequences, config.data.sequence_length);
  const nn::RopeTable rope = nn::make_rope_table(m, config.data.sequence_length, dtype);
  at::Tensor out_NX;
  AttentionSeconds seconds;
  for (int i = 0; i <= kRepetitions; ++i) {
    Stopwatch watch;
    out_NX = nn::causal_attention(q_NX, kv_NX, key_NX, segments, rope, m);
    const double passed = watch.lap();
    torch::autograd::grad({out_NX}, {q_NX, kv_NX, key_NX}, {at::ones_like(out_NX)});
    if (i == 0) continue;
    seconds.forward += passed / kRepetitions;
    seconds.backward += watch.lap() / kRepetitions;
  }
  return seconds;
}

double probe_memory() {
  constexpr int64_t kNumbers = int64_t{4} << 20;
  const at::Tensor gradient = at::rand({kNumbers});
  at::Tensor weight = at::rand({kNumbers}), first = at::rand({kNumbers}),
             second = at::rand({kNumbers});
  const nn::kernels::AdamW<float> by{.beta1 = 0.9F,
                                     .beta2 = 0.95F,
                                     .eps = 1e-8F,
                                     .shrink = 1.0F,
                                     .rate = 1e-3F,
                                     .root = 1.0F,
                                     .divisor = 1.0F};
  const double seconds = seconds_of([&] {
    at::parallel_for(0, kNumbers, 1 << 14, [&](int64_t begin, int64_t end) {
      nn::kernels::kernels<float>().adamw(
          by, gradient.const_data_ptr<float>() + begin, weight.mutable_data_ptr<float>() + begin,
          first.mutable_data_ptr<float>() + begin, second.mutable_data_ptr<float>() + begin,
          nullptr, end - begin);
    });
  });
  constexpr double kPasses = 7 * 4;  // four arrays read, three written
  return kPasses * static_cast<double>(kNumbers) / seconds;
}

double probe_activations(const config::RunConfig& config) {
  const at::NoGradGuard no_grad;
  const int64_t dim = config.model.hidden_size;
  const at::Tensor x_NM = random_rows(config, dim, /*gradient=*/false);
  const at::Tensor h_NX = random_rows(config, 2 * dim, /*gradient=*/false);
  const at::Tensor weight_M = at::ones({dim}, x_NM.scalar_type());
  const double seconds = seconds_of([&] {
    const at::Tensor normed = nn::rms_norm(x_NM, weight_M, config.model.rms_norm_eps);
    const at::Tensor sum = normed + x_NM;
    const at::Tensor activated = nn::swiglu(h_NX);
  });
  constexpr int64_t kPasses = 2 + 3 + 3;
  return static_cast<double>(kPasses * x_NM.numel() * x_NM.element_size()) / seconds;
}

double probe_operation() {
  constexpr int kCalls = 100;
  const at::Tensor start = at::ones({8}).set_requires_grad(true);
  const double seconds = seconds_of([&] {
    at::Tensor x = start;
    for (int i = 0; i < kCalls; ++i) x = x * 1.0001;
    torch::autograd::grad({x.sum()}, {start});
  });
  return seconds / (3 * kCalls);  // forward, and backward about two calls
}

double probe_stragglers(parallel::Communicator& world) {
  constexpr int kRounds = 40, kCalls = 12;  // about 10 ms a round at 50 GFLOP/s
  Products products({256, 256, 256}, at::kFloat);
  const auto seconds_of_rounds = [&](bool meets) {
    world.barrier();
    const Stopwatch watch;
    for (int round = 0; round < kRounds; ++round) {
      for (int i = 0; i < kCalls; ++i) products.multiply();
      if (meets) world.barrier();
    }
    return watch.seconds();
  };
  const double apart = seconds_of_rounds(false), together = seconds_of_rounds(true);
  at::Tensor seconds = torch::tensor({together, apart}, at::kDouble);
  world.all_reduce(seconds, parallel::ReduceOp::kSum);
  return std::max(1.0, (seconds[0] / seconds[1]).item<double>());
}

}  // namespace dsmoe::train
