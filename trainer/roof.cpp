#include "trainer/roof.h"

#include <algorithm>

#include "trainer/checkpoint.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {

void measure(RoofPoint& point, config::Precision precision, at::Device device) {
  constexpr int kRepetitions = 7;
  constexpr double kSecondsEach = 0.02;
  const auto where = at::TensorOptions(compute_dtype(precision)).device(device);
  const at::Tensor a = at::randn({point.m, point.k}).to(where);
  const at::Tensor b = at::randn({point.n, point.k}).to(where);
  at::Tensor out = at::mm(a, b.t());
  const double flops = 2.0 * static_cast<double>(point.m) * static_cast<double>(point.k) *
                       static_cast<double>(point.n);
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    const Stopwatch watch;
    int64_t calls = 0;
    do {
      at::mm_out(out, a, b.t());
      ++calls;
    } while (watch.seconds() < kSecondsEach);
    (void)out[0][0].item();  // until a device is done
    best = std::max(best, flops * static_cast<double>(calls) / watch.seconds());
  }
  point.flops_per_second = best;
}

std::vector<RoofPoint> roof_points(const config::RunConfig& config) {
  const config::ModelConfig& m = config.model;
  const int64_t tokens = config.batch.micro_sequences * config.data.sequence_length;
  const int64_t per_expert = std::max<int64_t>(
      1, tokens * m.num_experts_per_tok / std::max<int64_t>(1, m.n_routed_experts));
  constexpr int64_t kSquare = 2048;
  return {{"square", kSquare, kSquare, kSquare},
          {"expert gate and up", per_expert, m.hidden_size, 2 * m.moe_intermediate_size},
          {"expert down", per_expert, m.moe_intermediate_size, m.hidden_size},
          {"shared gate and up", tokens, m.hidden_size,
           2 * m.n_shared_experts * m.moe_intermediate_size},
          {"attention output", tokens, m.num_attention_heads * m.v_head_dim, m.hidden_size},
          {"head", std::min<int64_t>(tokens, 512), m.hidden_size, m.vocab_size}};
}

}  // namespace dsmoe::train
