#include "modules/causal_attention.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>

#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "modules/own_kernels.h"
#include "tests/modules/numeric.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig heads_of(int64_t nope, int64_t rope, int64_t value) {
  config::ModelConfig config;
  config.num_attention_heads = 3;
  config.qk_nope_head_dim = nope;
  config.qk_rope_head_dim = rope;
  config.v_head_dim = value;
  return config;
}

config::ModelConfig grouped_heads(config::AttentionKind kind, int64_t heads, int64_t groups) {
  auto config = heads_of(3, 4, 5);
  config.attention.kind = kind;
  config.num_attention_heads = heads;
  config.num_key_value_heads = groups;
  return config;
}

/// The whole head is rotated.
config::ModelConfig rotated_heads() {
  auto config = grouped_heads(config::AttentionKind::kMha, 3, 3);
  config.qk_nope_head_dim = 0;
  return config;
}

int64_t rope_key_heads(const config::ModelConfig& c) {
  return c.is_mla() ? 1 : c.key_value_heads();
}

struct Projections {
  at::Tensor q_NX, kv_NX, rope_key_NX;

  [[nodiscard]] std::vector<at::Tensor> all() const { return {q_NX, kv_NX, rope_key_NX}; }
};

Projections random_projections(const config::ModelConfig& c, int64_t rows, at::ScalarType dtype) {
  Projections p{test::random({rows, c.num_attention_heads * c.qk_head_dim()}, 1),
                test::random({rows, c.key_value_heads() * (c.qk_nope_head_dim + c.v_head_dim)}, 2),
                test::random({rows, rope_key_heads(c) * c.qk_rope_head_dim}, 3)};
  for (at::Tensor* x : {&p.q_NX, &p.kv_NX, &p.rope_key_NX}) *x = x->to(dtype).requires_grad_();
  return p;
}

/// Pairs (2i, 2i+1) of the last dimension of x [B, T, H, R], turned by their positions.
at::Tensor rotated(const at::Tensor& x, const RopeTable& rope) {
  const at::Tensor cos = rope.cos_TR.unsqueeze(1), sin = rope.sin_TR.unsqueeze(1);
  const at::Tensor even = x.slice(3, 0, c10::nullopt, 2), odd = x.slice(3, 1, c10::nullopt, 2);
  return at::stack({even * cos - odd * sin, odd * cos + even * sin}, -1).flatten(3);
}

struct Heads {
  at::Tensor query, key, value;  // [B, H, T, width]
};

/// V2 (14)-(17) in ATen's own operators.
Heads explicit_heads(const Projections& p, int64_t batch, const RopeTable& rope,
                     const config::ModelConfig& c) {
  const int64_t length = p.q_NX.size(0) / batch, heads = c.num_attention_heads;
  const auto split = [&](const at::Tensor& x, int64_t count, int64_t first, int64_t second) {
    return x.view({batch, length, count, first + second}).split_with_sizes({first, second}, 3);
  };
  const auto for_each_head = [&](const at::Tensor& x) {
    return x.repeat_interleave(heads / x.size(2), 2);
  };
  const auto q = split(p.q_NX, heads, c.qk_nope_head_dim, c.qk_rope_head_dim);
  const auto kv = split(p.kv_NX, c.key_value_heads(), c.qk_nope_head_dim, c.v_head_dim);
  const at::Tensor shared =
      rotated(p.rope_key_NX.view({batch, length, rope_key_heads(c), c.qk_rope_head_dim}), rope);
  return {at::cat({q[0], rotated(q[1], rope)}, 3).transpose(1, 2),
          at::cat({for_each_head(kv[0]), for_each_head(shared)}, 3).transpose(1, 2),
          for_each_head(kv[1]).transpose(1, 2)};
}

at::Tensor token_major(const at::Tensor& heads, int64_t rows) {
  return heads.transpose(1, 2).reshape({rows, -1});
}

/// V2 (18) with the whole matrix of probabilities.
at::Tensor naive(const Heads& h, const config::ModelConfig& c) {
  const int64_t length = h.query.size(2);
  const at::Tensor future = at::ones({length, length}, at::kBool).triu(1);
  const at::Tensor scores = at::matmul(h.query, h.key.transpose(2, 3)) * softmax_scale(c);
  return at::matmul(at::softmax(scores.masked_fill(future, -INFINITY), -1), h.value);
}

at::Tensor sdpa(const Heads& h, const config::ModelConfig& c) {
  return at::scaled_dot_product_attention(h.query, h.key, h.value, {}, 0.0, true, softmax_scale(c));
}

std::vector<at::Tensor> gradients(const at::Tensor& out, const at::Tensor& pull,
                                  const Projections& p) {
  return torch::autograd::grad({out}, p.all(), {pull});
}

TEST_CASE("attention equals the explicit softmax and SDPA, forward and backward", "[kernels]") {
  // Lengths on both sides of the blocks of queries (96) and keys (128) and of vectors.
  const int64_t length = GENERATE(1, 2, 33, 96, 129, 300);
  using config::AttentionKind;
  auto config =
      GENERATE(heads_of(3, 4, 2), heads_of(3, 4, 9), heads_of(16, 8, 16),
               grouped_heads(AttentionKind::kMha, 3, 3), rotated_heads(),
               grouped_heads(AttentionKind::kGqa, 6, 2), grouped_heads(AttentionKind::kMqa, 4, 1));
  if (length == 33) config.rope_scaling = config::RopeScaling{.factor = 8, .mscale_all_dim = 1.0};
  CAPTURE(length, config.v_head_dim);
  const int64_t batch = 2;
  const auto rope = make_rope_table(config, length, at::kDouble);
  const Projections p = random_projections(config, batch * length, at::kDouble);
  const at::Tensor fused = causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX,
                                            Segments::uniform(batch, length), rope, config);
  const at::Tensor pull = test::random(fused.sizes().vec(), 4);
  const auto fused_gradients = gradients(fused, pull, p);
  const Heads heads = explicit_heads(p, batch, rope, config);
  for (const auto& reference : {naive(heads, config), sdpa(heads, config)}) {
    const at::Tensor wanted = token_major(reference, batch * length);
    CHECK(test::gap(fused, wanted) < 1e-13);
    const auto wanted_gradients =
        torch::autograd::grad({wanted}, p.all(), {pull}, /*retain_graph=*/true);
    for (size_t i = 0; i < 3; ++i) {
      CHECK(test::gap(fused_gradients[i], wanted_gradients[i]) < 1e-12);
    }
  }
}

TEST_CASE("segments of unequal lengths attend as each would alone, forward and backward",
          "[kernels]") {
  const auto config = heads_of(16, 8, 9);
  const Segments segments({0, 1, 130, 130, 163, 300});
  const auto rope = make_rope_table(config, segments.longest(), at::kDouble);
  const Projections p = random_projections(config, segments.rows(), at::kDouble);
  const at::Tensor out = causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX, segments, rope, config);
  const at::Tensor pull = test::random(out.sizes().vec(), 4);
  const auto all = gradients(out, pull, p);
  for (int64_t s = 0; s < segments.count(); ++s) {
    const auto cut = [&](const at::Tensor& x) {
      return x.detach().slice(0, segments.start(s), segments.start(s + 1)).requires_grad_();
    };
    const Projections one{cut(p.q_NX), cut(p.kv_NX), cut(p.rope_key_NX)};
    const at::Tensor alone = causal_attention(one.q_NX, one.kv_NX, one.rope_key_NX,
                                              Segments({0, segments.length(s)}), rope, config);
    CHECK(test::gap(alone, cut(out)) < 1e-14);
    const auto wanted = gradients(alone, cut(pull), one);
    for (size_t i = 0; i < 3; ++i) CHECK(test::gap(cut(all[i]), wanted[i]) < 1e-14);
  }
}

TEST_CASE("inputs that can be made again are, in the backward pass, by kernels and by operations",
          "[kernels]") {
  const auto config = heads_of(16, 8, 9);
  const bool own = GENERATE(true, false);
  const int64_t length = GENERATE(0, 20);
  CAPTURE(own, length);
  std::optional<WithoutOwnKernels> without;
  if (!own) without.emplace();
  const Segments segments(length == 0 ? std::vector<int64_t>{0} : std::vector<int64_t>{0, length});
  const auto rope = make_rope_table(config, 20, at::kDouble);
  const Projections p = random_projections(config, length, at::kDouble);
  int64_t made = 0;
  const auto again = [&made](const at::Tensor& x) {
    return c10::make_intrusive<Remade>([&made, x = x.detach()] {
      ++made;
      return x;
    });
  };
  const at::Tensor kept = causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX, segments, rope, config);
  const at::Tensor pull = test::random(kept.sizes().vec(), 4);
  // Of zero rows operations leave no graph; then all gradients are empty.
  const auto wanted = length == 0 ? p.all() : gradients(kept, pull, p);
  const at::Tensor out = causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX, segments, rope, config,
                                          {again(p.q_NX), again(p.kv_NX)});
  CHECK(made == 0);
  CHECK(out.equal(kept));
  const auto got = gradients(out, pull, p);
  CHECK(made == 2);
  for (size_t i = 0; i < 3; ++i) CHECK(got[i].equal(wanted[i]));
}

TEST_CASE("what makes inputs again goes with attention's backward pass", "[kernels]") {
  const auto config = heads_of(16, 8, 9);
  std::optional<WithoutOwnKernels> without;
  if (!GENERATE(true, false)) without.emplace();
  const Projections p = random_projections(config, 20, at::kDouble);
  const auto token = std::make_shared<int>(0);
  const auto again = [&](const at::Tensor& x) {
    return remade_if(true, [token, x = x.detach()] { return x; });
  };
  const at::Tensor loss = causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX, Segments({0, 20}),
                                           make_rope_table(config, 20, at::kDouble), config,
                                           {again(p.q_NX), again(p.kv_NX)})
                              .sum();
  CHECK(token.use_count() == 3);
  loss.backward();
  CHECK(token.use_count() == 1);
}

/// Least processor time of a few runs on this thread, forward and backward: other work on the
/// machine does not count.
double processor_seconds(const Projections& p, const Segments& segments,
                         const config::ModelConfig& c) {
  const auto rope = make_rope_table(c, segments.longest(), at::kFloat);
  double least = 1e9;
  for (int run = 0; run < 5; ++run) {
    const std::clock_t start = std::clock();
    causal_attention(p.q_NX, p.kv_NX, p.rope_key_NX, segments, rope, c).sum().backward();
    least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

TEST_CASE("attention costs the sum of squared lengths of the documents", "[kernels]") {
  auto config = heads_of(64, 32, 64);
  const int64_t length = 2048;
  const Projections p = random_projections(config, length, at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const double whole = processor_seconds(p, Segments({0, length}), config);
  const double pieces = processor_seconds(p, Segments::uniform(8, length / 8), config);
  at::set_num_threads(threads);
  // An eighth, and the masked halves of the blocks on the diagonal.
  CAPTURE(whole, pieces);
  CHECK(pieces < whole / 3);
}

TEST_CASE("attention in float32 and bfloat16 is float64 to their precision", "[kernels]") {
  const auto [dtype, tolerance] =
      GENERATE(std::pair{at::kFloat, 2e-6}, std::pair{at::kBFloat16, 2e-2});
  CAPTURE(dtype);
  const auto config = heads_of(16, 8, 20);
  const int64_t length = 150, batch = 2;
  const Projections low = random_projections(config, batch * length, dtype);
  const Projections exact = random_projections(config, batch * length, at::kDouble);
  const at::Tensor a =
      causal_attention(low.q_NX, low.kv_NX, low.rope_key_NX, Segments::uniform(batch, length),
                       make_rope_table(config, length, dtype), config);
  const at::Tensor b =
      causal_attention(exact.q_NX, exact.kv_NX, exact.rope_key_NX, Segments::uniform(batch, length),
                       make_rope_table(config, length, at::kDouble), config);
  CHECK(a.scalar_type() == dtype);
  CHECK(test::distance(a, b) < tolerance);
  const at::Tensor pull = test::random(b.sizes().vec(), 4);
  const auto da = gradients(a, pull.to(dtype), low);
  const auto db = gradients(b, pull, exact);
  for (size_t i = 0; i < 3; ++i) CHECK(test::distance(da[i], db[i]) < tolerance);
}

TEST_CASE("scores far apart neither overflow nor vanish into NaN", "[kernels]") {
  const auto config = heads_of(16, 8, 16);
  const int64_t length = 200;
  Projections p = random_projections(config, length, at::kFloat);
  const at::NoGradGuard no_grad;
  const auto rope = make_rope_table(config, length, at::kFloat);
  const at::Tensor out = causal_attention(p.q_NX * 100, p.kv_NX * 100, p.rope_key_NX * 100,
                                          Segments({0, length}), rope, config);
  CHECK(at::isfinite(out).all().item<bool>());
  CHECK(out.abs().max().item<double>() <= p.kv_NX.abs().max().item<double>() * 100.001);
}

}  // namespace
}  // namespace dsmoe::nn
