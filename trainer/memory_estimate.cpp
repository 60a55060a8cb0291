#include "trainer/memory_estimate.h"

#include <algorithm>
#include <filesystem>

#include "modules/layer_slices.h"
#include "modules/recompute.h"
#include "parallel/pipeline_schedule.h"
#include "trainer/micro_batches.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

/// Elements that a layer's attention keeps for backward, per token.
int64_t attention_elements(const config::ModelConfig& model, const nn::Recompute& again) {
  const int64_t output = model.num_attention_heads * (model.v_head_dim + 1);
  const int64_t inputs = (again.norms ? 1 : 2) * model.hidden_size;
  if (!model.is_mla()) {
    // Queries, keys and values, the last two once more as attention reads them, and two inputs.
    return inputs + model.num_attention_heads * model.qk_head_dim() + 2 * model.cache_width() +
           output;
  }
  const int64_t heads = again.mla_up
                            ? 0
                            : model.num_attention_heads *
                                  (model.qk_head_dim() + model.qk_nope_head_dim + model.v_head_dim);
  const int64_t query_latent = model.q_lora_rank.value_or(0);
  const int64_t normed = again.norms ? 0 : query_latent + model.kv_lora_rank;
  return inputs + query_latent + 2 * model.kv_lora_rank + 2 * model.qk_rope_head_dim + normed +
         heads + output;
}

/// Elements that a layer's feed-forward part keeps for backward, per token.
int64_t feed_forward_elements(const config::ModelConfig& model, bool moe,
                              const nn::Recompute& again) {
  const int64_t activated = again.swiglu ? 2 : 3;
  if (!moe) {
    return (again.norms ? 1 : 2) * model.hidden_size + activated * model.intermediate_size;
  }
  const int64_t shared = activated * model.n_shared_experts * model.moe_intermediate_size;
  const int64_t routed =
      again.experts ? 0 : 2 * model.num_experts_per_tok * model.moe_intermediate_size;
  return 3 * model.hidden_size + shared + routed + 2 * model.n_routed_experts;
}

/// Elements per token of a whole layer.
int64_t layer_elements(const config::ModelConfig& model, int64_t layer,
                       const nn::Recompute& again) {
  return attention_elements(model, again) +
         feed_forward_elements(model, model.is_moe_layer(layer), again);
}

/// What stays of a layer that is run again, per token: its input, scores and logits.
int64_t replayed_elements(const config::ModelConfig& model, int64_t layer) {
  return model.hidden_size + (model.is_moe_layer(layer) ? 2 * model.n_routed_experts : 0);
}

/// Tokens take two bytes each in memory (four above 65,536 kinds), and a file is its text and
/// little more: as many bytes, or a third as many subwords. A .bin stays on disk.
int64_t corpus_bytes(const config::RunConfig& config) {
  const config::DataConfig& data = config.data;
  const int64_t width = config.model.vocab_size > int64_t{1} << 16 ? 4 : 2;
  const int64_t text_per_token = data.tokenizer == "byte" ? 1 : 3;
  int64_t bytes = 0;
  for (const auto* sources : {&data.train, &data.eval}) {
    for (const config::DataSource& source : *sources) {
      std::error_code missing;
      const auto size = std::filesystem::file_size(source.path, missing);
      if (!missing) bytes += width * static_cast<int64_t>(size) / text_per_token;
    }
  }
  return bytes;
}

/// Those whose masters and moments this rank has: the longest share.
int64_t shared_out(const HeldCount& count, const nn::StateSharing& sharing) {
  return parallel::share_of(count.dense, sharing.dense).longest +
         parallel::share_of(count.expert, sharing.expert).longest;
}

/// Passes of a micro-batch through a slice whose activations a stage keeps at a time.
int64_t live_passes(const config::RunConfig& config, const parallel::Topology& topology) {
  const config::ParallelConfig& parallel = config.parallel;
  if (topology.stages == 1) return 1;
  const int64_t count = num_micro_batches(cut_batch(config, 0, config.batch.sequences), topology);
  return parallel::live_activations(parallel::schedule_kind(parallel.schedule), topology.stage(),
                                    {topology.stages, count, parallel.chunks});
}

/// At the peak: of each pass that is kept, what an average slice keeps and the rows that came in
/// and went on; and what one layer makes again in its backward pass.
int64_t activation_elements(const config::RunConfig& config, const parallel::Topology& topology,
                            const std::vector<nn::LayerSlice>& slices) {
  const config::ModelConfig& model = config.model;
  const nn::Recompute again = nn::recompute_of(config.run.recompute);
  int64_t kept = 0, remade = 0;
  for (const nn::LayerSlice& slice : slices) {
    for (int64_t i = slice.begin; i < slice.end; ++i) {
      const int64_t here =
          again.layer ? replayed_elements(model, i) : layer_elements(model, i, again);
      kept += here;
      remade = std::max(remade, layer_elements(model, i, {}) - here);
    }
  }
  const int64_t passes = live_passes(config, topology);
  const int64_t per_token =
      4 * model.hidden_size * passes + kept * passes / static_cast<int64_t>(slices.size()) + remade;
  return per_token * config.batch.micro_sequences * config.data.sequence_length;
}

/// The head's gradient of each micro-batch between its forward and backward pass.
int64_t head_gradients(const config::RunConfig& config, const parallel::Topology& topology,
                       const std::vector<nn::LayerSlice>& slices) {
  const bool every = topology.stages > 1 && config.parallel.schedule == "gpipe";
  if (!every || !slices.back().last(config.model)) return 0;
  return (live_passes(config, topology) - 1) * config.model.vocab_size * config.model.hidden_size;
}

/// What checkpoint.background copies: the weights that this rank writes, and its share of the
/// optimizer's state and the masters.
int64_t copied_bytes(const config::RunConfig& config, const parallel::Topology& topology,
                     const HeldCount& count, int64_t owned, const NumberWidths& widths) {
  if (!config.checkpoint.background) return 0;
  const bool writes = topology.replica() == 0;
  const bool adapter = config.finetune.method == config::FinetuneMethod::kLora;
  const int64_t weights = adapter ? count.dense + count.expert : count.held;
  const int64_t states = widths.compute == widths.master ? 2 : 3;
  return (writes ? weights * widths.compute : 0) +
         (writes || config.parallel.zero == 1 ? states * owned * widths.master : 0);
}

}  // namespace

NumberWidths widths_of(config::Precision precision) {
  if (precision == config::Precision::kFp64) return {8, 8};
  return {4, precision == config::Precision::kBf16 ? 2 : 4};
}

MemoryEstimate estimate_memory(const config::RunConfig& config,
                               const parallel::Topology& topology) {
  return estimate_memory(config, topology, HeldWeights(config));
}

MemoryEstimate estimate_memory(const config::RunConfig& config, const parallel::Topology& topology,
                               const HeldWeights& weights) {
  const auto slices = nn::slices_of_stage(config, topology.stage());
  const NumberWidths widths = widths_of(config.run.precision);
  constexpr int64_t kProgram = int64_t{230} << 20;  // resident after loading LibTorch 2.13 for CPU
  // In bf16: products compiled for the shapes of a long run, and the holes they leave in the heap.
  constexpr int64_t kCompiledProducts = int64_t{208} << 20;
  MemoryEstimate memory;
  const HeldCount count = weights.of(slices, topology.expert_size);
  const int64_t owned = shared_out(count, state_sharing(config, topology));
  memory.weights = count.held * widths.compute;
  if (widths.compute != widths.master) memory.weights += owned * widths.master;
  memory.gradients =
      (count.dense + count.expert + head_gradients(config, topology, slices)) * widths.master;
  memory.optimizer = 2 * owned * widths.master;
  memory.activations = activation_elements(config, topology, slices) * widths.compute;
  memory.copies = copied_bytes(config, topology, count, owned, widths);
  memory.data = corpus_bytes(config);
  memory.program =
      kProgram + (config.run.precision == config::Precision::kBf16 ? kCompiledProducts : 0);
  return memory;
}

MemoryEstimate estimate_largest_memory(const config::RunConfig& config,
                                       parallel::Topology topology) {
  return estimate_largest_memory(config, topology, HeldWeights(config));
}

MemoryEstimate estimate_largest_memory(const config::RunConfig& config, parallel::Topology topology,
                                       const HeldWeights& weights) {
  MemoryEstimate largest;
  for (int64_t stage = 0; stage < topology.stages; ++stage) {
    topology.rank = stage * topology.data_size();
    const MemoryEstimate memory = estimate_memory(config, topology, weights);
    if (memory.total() > largest.total()) largest = memory;
  }
  return largest;
}

}  // namespace dsmoe::train
