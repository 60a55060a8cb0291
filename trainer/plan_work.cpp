#include "trainer/plan_work.h"

#include <algorithm>

#include "modules/recompute.h"
#include "trainer/memory_estimate.h"
#include "trainer/plan_hops.h"

namespace dsmoe::train {
namespace {

double real(int64_t value) { return static_cast<double>(value); }

/// What the parts of a layer are counted with.
struct Scale {
  explicit Scale(const config::RunConfig& run)
      : model(run.model),
        tokens(real(run.batch.micro_sequences * run.data.sequence_length)),
        keys((real(run.data.sequence_length) + 1) / 2),
        width(real(widths_of(run.run.precision).compute)),
        dim(real(run.model.hidden_size)),
        again(nn::recompute_of(run.run.recompute)) {}

  /// Bytes of so many numbers a token.
  [[nodiscard]] double bytes(double numbers) const { return tokens * width * numbers; }

  const config::ModelConfig& model;
  double tokens;
  double keys;  ///< of a token, on average
  double width;
  double dim;
  nn::Recompute again;
};

/// y[m, n] = x[m, k] W, dx = dy W^T, dW += x^T dy.
void add_linear(PassWork& part, double m, double k, double n, double count = 1) {
  part.forward.products.push_back({m, k, n, count});
  part.input_gradient.products.push_back({m, n, k, count});
  part.weight_gradient.products.push_back({n, m, k, count, /*adds=*/true});
}

void add_bytes(PassWork& part, double forward, double backward) {
  part.forward.bytes += forward;
  part.input_gradient.bytes += backward;
}

void add_operations(PassWork& part, double forward, double backward) {
  part.forward.operations += forward;
  part.input_gradient.operations += backward;
}

/// Reads x and writes y; reads x and dy and writes dx.
void add_norm(PassWork& part, const Scale& s, double width) {
  add_bytes(part, s.bytes(2 * width), s.bytes(3 * width));
  add_operations(part, 1, 2);
  if (s.again.norms) part.input_gradient.bytes += s.bytes(2 * width);
}

/// z = x + y; the gradient of x is the sum of two.
void add_residual(PassWork& part, const Scale& s) {
  add_bytes(part, s.bytes(3 * s.dim), s.bytes(3 * s.dim));
  add_operations(part, 1, 1);
}

/// What MLA makes of its latents, V2 (9)-(13), or the projections of the other attentions.
void add_projections(PassWork& part, const Scale& s) {
  const config::ModelConfig& m = s.model;
  const double heads = real(m.num_attention_heads);
  const double query = heads * real(m.qk_head_dim());
  if (!m.is_mla()) {
    const double groups = real(m.key_value_heads());
    for (const double out : {query, groups * real(m.qk_head_dim()), groups * real(m.v_head_dim)}) {
      add_linear(part, s.tokens, s.dim, out);
    }
    return;
  }
  const double latent = real(m.kv_lora_rank);
  const double pairs = heads * real(m.qk_nope_head_dim + m.v_head_dim);
  PassWork up;
  if (m.q_lora_rank) {
    const double q = real(*m.q_lora_rank);
    add_linear(part, s.tokens, s.dim, q);
    add_norm(part, s, q);
    add_linear(up, s.tokens, q, query);
  } else {
    add_linear(part, s.tokens, s.dim, query);
  }
  add_linear(part, s.tokens, s.dim, latent + real(m.qk_rope_head_dim));
  add_norm(part, s, latent);
  add_linear(up, s.tokens, latent, pairs);
  if (s.again.mla_up) up.input_gradient += up.forward;
  part += up;
}

/// V2 (14)-(18): reads queries, keys and values, writes the outputs; backward twice that.
void add_core(PassWork& part, const Scale& s) {
  const config::ModelConfig& m = s.model;
  const double heads = real(m.num_attention_heads);
  const double query = heads * real(m.qk_head_dim());
  const double pairs =
      m.is_mla() ? heads * real(m.qk_nope_head_dim + m.v_head_dim) : real(m.cache_width());
  const double output = heads * real(m.v_head_dim);
  const double operations = 2 * s.tokens * s.keys * heads * real(m.qk_head_dim() + m.v_head_dim);
  part.forward.attention_forward += operations;
  part.input_gradient.attention_backward += 2 * operations;
  add_bytes(part, s.bytes(query + pairs + output), s.bytes(2 * (query + pairs + output)));
  add_operations(part, 4, 8);
}

PassWork attention_work(const Scale& s) {
  PassWork part;
  add_norm(part, s, s.dim);
  add_projections(part, s);
  add_core(part, s);
  add_linear(part, s.tokens, real(s.model.num_attention_heads * s.model.v_head_dim), s.dim);
  add_residual(part, s);
  add_operations(part, 10, 16);
  return part;
}

/// down(silu(gate) * up), of width F.
PassWork swiglu_work(const Scale& s, double width) {
  PassWork part;
  add_linear(part, s.tokens, s.dim, 2 * width);
  add_bytes(part, s.bytes(3 * width), s.bytes((s.again.swiglu ? 9 : 6) * width));
  add_linear(part, s.tokens, width, s.dim);
  add_operations(part, 4, 8);
  return part;
}

PassWork router_work(const Scale& s) {
  PassWork part;
  const double experts = real(s.model.n_routed_experts);
  add_norm(part, s, s.dim);
  add_linear(part, s.tokens, s.dim, experts);
  // Scores, groups, choice, counts and balance losses read and write all scores a few times.
  add_bytes(part, s.bytes(12 * experts), s.bytes(6 * experts));
  add_operations(part, 40, 30);
  return part;
}

/// Products of each expert held here; pairs of tokens and experts gathered, activated and summed.
PassWork experts_work(const Scale& s, const parallel::Topology& topology) {
  const config::ModelConfig& m = s.model;
  const double here = real(m.n_routed_experts) / real(topology.expert_size);
  const double chosen = real(m.num_experts_per_tok), width = real(m.moe_intermediate_size);
  const double rows = s.tokens * chosen / here;
  PassWork first, part;
  add_linear(first, rows, s.dim, 2 * width, here);
  if (s.again.experts) first.input_gradient += first.forward;
  part += first;
  add_linear(part, rows, width, s.dim, here);
  add_bytes(part, s.bytes(chosen * (3 * s.dim + 3 * width)),
            s.bytes(chosen * (5 * s.dim + 6 * width)));
  add_operations(part, 10 + 5 * here, 20 + 9 * here);
  if (topology.expert_size == 1) return part;
  for (const DispatchHop& hop : dispatch_hops(topology)) {
    const double sent = expected_traffic(m, topology, hop).visits;
    // Packing what is sent and adding up what comes back.
    add_bytes(part, s.bytes(5 * sent * s.dim), s.bytes(5 * sent * s.dim));
    add_operations(part, 20, 20);
  }
  return part;
}

void replay(PassWork& part) { part.input_gradient += part.forward; }

}  // namespace

Work& Work::operator+=(const Work& other) {
  products.insert(products.end(), other.products.begin(), other.products.end());
  attention_forward += other.attention_forward;
  attention_backward += other.attention_backward;
  bytes += other.bytes;
  operations += other.operations;
  return *this;
}

PassWork& PassWork::operator+=(const PassWork& other) {
  forward += other.forward;
  input_gradient += other.input_gradient;
  weight_gradient += other.weight_gradient;
  return *this;
}

LayerWork layer_work(const config::RunConfig& config, const parallel::Topology& topology,
                     bool moe) {
  Scale s(config);
  LayerWork work;
  work.attention = attention_work(s);
  const bool behind_again = moe && s.again.moe;
  if (behind_again) s.again = {};
  if (moe) {
    work.router = router_work(s);
    if (s.model.n_shared_experts > 0) {
      work.beside = swiglu_work(s, real(s.model.n_shared_experts * s.model.moe_intermediate_size));
    }
    work.experts = experts_work(s, topology);
    add_residual(work.experts, s);
  } else {
    work.beside = swiglu_work(s, real(s.model.intermediate_size));
    add_norm(work.beside, s, s.dim);
  }
  add_residual(moe ? work.experts : work.beside, s);
  if (s.again.layer) replay(work.attention);
  if (s.again.layer || behind_again) {
    for (PassWork* part : {&work.router, &work.beside, &work.experts}) replay(*part);
  }
  return work;
}

PassWork head_work(const config::RunConfig& config) {
  const Scale s(config);
  const double vocabulary = real(s.model.vocab_size);
  PassWork part;
  add_norm(part, s, s.dim);
  PassWork logits;
  add_linear(logits, s.tokens, s.dim, vocabulary);
  part.forward += logits.forward;
  part.forward += logits.input_gradient;
  part.forward += logits.weight_gradient;
  // Logits become their gradient in place; the head's gradient is added to the others at the end.
  part.forward.bytes += s.bytes(4 * vocabulary);
  part.input_gradient.bytes += s.bytes(2 * s.dim) + 3 * 4 * vocabulary * s.dim;
  add_operations(part, 20, 6);
  return part;
}

PassWork embedding_work(const config::RunConfig& config) {
  const Scale s(config);
  PassWork part;
  add_bytes(part, s.bytes(2 * s.dim), s.bytes(3 * s.dim));
  add_operations(part, 2, 4);
  return part;
}

}  // namespace dsmoe::train
