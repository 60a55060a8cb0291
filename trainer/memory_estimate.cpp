#include "trainer/memory_estimate.h"

#include <algorithm>
#include <filesystem>

#include "modules/layer_slices.h"
#include "parallel/pipeline_schedule.h"
#include "trainer/activation_elements.h"
#include "trainer/objective.h"
#include "trainer/pipeline_shape.h"
#include "trainer/plan_hops.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

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

/// Passes of a micro-batch through a slice that a stage has in memory at a time.
struct LivePasses {
  int64_t whole = 1;    ///< whose backward pass is still to come
  int64_t put_off = 0;  ///< of which only weight gradients are still to come
};

bool puts_off(const config::RunConfig& config, const parallel::Topology& topology) {
  return topology.stages > 1 && config.parallel.schedule == "zb_h1" &&
         parallel::most_put_off(topology.stage(), pipeline_shape(config, topology)) > 0;
}

LivePasses live_passes(const config::RunConfig& config, const parallel::Topology& topology) {
  if (topology.stages == 1) return {};
  const auto kind = parallel::schedule_kind(config.parallel.schedule);
  const int64_t live =
      parallel::live_activations(kind, topology.stage(), pipeline_shape(config, topology));
  if (!puts_off(config, topology)) return {live, 0};
  const int64_t whole = std::min(topology.stages - topology.stage(), live);
  return {whole, live - whole};
}

/// Elements per token of a micro-batch's pass through a slice.
struct SliceElements {
  int64_t whole = 0;     ///< from its forward to its backward pass
  int64_t put_off = 0;   ///< from its backward pass to its weight gradients, if they are put off
  int64_t backward = 0;  ///< that its backward pass adds at most

  /// The backward pass goes on to the layer before: what comes behind is no longer kept whole.
  /// added: of the layer's own pass, what is computed again, and gradients.
  void precede(int64_t kept, int64_t added, int64_t waiting) {
    backward = std::max(backward, put_off - whole + added);
    whole += kept;
    put_off += waiting;
    backward = std::max(backward, put_off - whole);
  }
};

SliceElements slice_elements(const config::RunConfig& config, int64_t expert_size, bool later,
                             const nn::LayerSlice& slice) {
  const config::ModelConfig& model = config.model;
  const double arrived = expert_size > 1 ? expected_ranks(model, expert_size) : 0;
  const nn::Recompute again = nn::recompute_of(config.run.recompute);
  SliceElements elements;
  for (int64_t i = slice.end - 1; i >= slice.begin; --i) {
    const int64_t kept =
        again.layer ? replayed_elements(model, i) : layer_elements(model, i, again, arrived);
    // Put-off layers are let go of in another order than they came: an eighth more for the holes.
    const int64_t put_off = later ? put_off_elements(model, i, again, arrived) * 9 / 8 : 0;
    elements.precede(kept, backward_elements(model, i, again, arrived, later), put_off);
  }
  return elements;
}

/// Elements per token that stand at the end of a slice's forward pass in steps that measure
/// interference, where layers run again and would not keep them: what their routers saw.
int64_t router_inputs(const config::RunConfig& config, const nn::LayerSlice& slice) {
  const bool measured = config.log.interference_every > 0 && has_balance_terms(config.balance);
  if (!measured || !nn::recompute_of(config.run.recompute).dispatches_again()) return 0;
  const NumberWidths widths = widths_of(config.run.precision);
  int64_t layers = 0;
  for (int64_t i = slice.begin; i < slice.end; ++i) layers += config.model.is_moe_layer(i) ? 1 : 0;
  return layers * config.model.hidden_size * widths.master / widths.compute;
}

/// At the peak: of each pass that is kept, an average slice and the rows that came in and went on;
/// and what a backward pass, or a measurement before it, adds.
int64_t activation_elements(const config::RunConfig& config, const parallel::Topology& topology,
                            const std::vector<nn::LayerSlice>& slices) {
  const bool later = puts_off(config, topology);
  SliceElements sum;
  for (const nn::LayerSlice& slice : slices) {
    const auto one = slice_elements(config, topology.expert_size, later, slice);
    sum.whole += one.whole;
    sum.put_off += one.put_off;
    sum.backward = std::max({sum.backward, one.backward, router_inputs(config, slice)});
  }
  const auto count = static_cast<int64_t>(slices.size());
  const LivePasses live = live_passes(config, topology);
  const int64_t rows = (topology.stages > 1 ? 2 : 1) * config.model.hidden_size;
  const int64_t per_token =
      live.whole * (sum.whole / count + rows) + live.put_off * sum.put_off / count + sum.backward;
  return per_token * config.batch.micro_sequences * config.data.sequence_length;
}

/// The head's gradient of each micro-batch between its forward and backward pass.
int64_t head_gradients(const config::RunConfig& config, const parallel::Topology& topology,
                       const std::vector<nn::LayerSlice>& slices) {
  const bool every = topology.stages > 1 && config.parallel.schedule == "gpipe";
  if (!every || !slices.back().last(config.model)) return 0;
  return (live_passes(config, topology).whole - 1) * config.model.vocab_size *
         config.model.hidden_size;
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
  constexpr int64_t kProgram = int64_t{160} << 20;  // resident after loading LibTorch 2.13 for CPU
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
