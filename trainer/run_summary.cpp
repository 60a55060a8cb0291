#include "trainer/run_summary.h"

#include <algorithm>

#include "configs/yaml_writer.h"
#include "modules/layer_slices.h"
#include "modules/model_census.h"
#include "modules/recompute.h"
#include "parallel/pipeline_timeline.h"
#include "trainer/human.h"
#include "trainer/memory_estimate.h"
#include "trainer/micro_batches.h"
#include "trainer/noise_floor.h"
#include "trainer/pipeline_shape.h"
#include "trainer/ratio.h"
#include "trainer/schedule.h"
#include "trainer/table.h"
#include "trainer/trained_weights.h"

namespace dsmoe::train {
namespace {

std::string precision_name(config::Precision precision) {
  if (precision == config::Precision::kFp64) return "fp64";
  return precision == config::Precision::kBf16 ? "bf16 compute, fp32 masters" : "fp32";
}

std::string layout_text(const config::RunConfig& c, const parallel::Topology& t) {
  return std::to_string(t.world) +
         " ranks = " + (t.stages > 1 ? "pipeline " + std::to_string(t.stages) + " x " : "") +
         "expert " + std::to_string(t.expert_size) + " x replicas " + std::to_string(t.replicas()) +
         (c.parallel.zero == 1 && t.data_size() > 1 ? ", optimizer state shared (ZeRO-1)" : "");
}

/// How the layers are spread and how long stages wait, with equal costs of all layers' passes.
std::string pipeline_text(const config::RunConfig& c, const parallel::Topology& t) {
  std::string layers;
  for (const nn::LayerSlice& slice : nn::pipeline_slices(c)) {
    layers += (layers.empty() ? "" : ", ") + std::to_string(slice.end - slice.begin);
  }
  const parallel::PipelineShape shape = pipeline_shape(c, t);
  const auto timeline = parallel::simulate(parallel::schedule_kind(c.parallel.schedule), shape, {},
                                           /*capacity=*/shape.micro_batches * shape.chunks);
  return c.parallel.schedule + ", slices of " + layers + " layers, " +
         std::to_string(shape.micro_batches) + " micro-batches, " +
         fixed(100 * timeline.idle(0) / timeline.length(), 0) +
         "% of a step waiting, were all stages equal";
}

std::string attention_text(const config::ModelConfig& m) {
  std::string kind;
  switch (m.attention.kind) {
    case config::AttentionKind::kMla:
      kind = "latent of " + std::to_string(m.kv_lora_rank);
      break;
    case config::AttentionKind::kMha:
      kind = "multi-head";
      break;
    case config::AttentionKind::kGqa:
    case config::AttentionKind::kMqa:
      kind = std::to_string(m.key_value_heads()) + " key-value heads";
      break;
  }
  return std::to_string(m.num_attention_heads) + " heads, " + kind + "; a cache of " +
         with_separators(nn::kv_cache_elements(m)) + " numbers a token";
}

void model_section(Table& table, const config::ModelConfig& m) {
  const auto census = nn::count_parameters(m);
  table.section("model");
  table.row("parameters", with_separators(census.total));
  table.row("active per token", with_separators(census.active) + " (without input embedding " +
                                    with_separators(census.active_without_input_embedding) + ")");
  table.row("attention", attention_text(m));
  table.row("experts", std::to_string(m.n_routed_experts) + " routed in " +
                           std::to_string(m.n_group) + " device groups, " +
                           std::to_string(m.num_experts_per_tok) + " per token from " +
                           std::to_string(m.topk_group) + " groups, " +
                           std::to_string(m.n_shared_experts) + " shared");
}

std::string trained_text(const TrainedClass& one) {
  if (one.trained == 0) return "frozen (" + with_separators(one.total) + ")";
  std::string text = with_separators(one.trained);
  if (one.trained < one.total) text += " of " + with_separators(one.total);
  if (one.lowest_rate == 1 && one.highest_rate == 1) return text;
  const std::string low = config::number_text(one.lowest_rate);
  return text + ", learning rate times " + low +
         (one.lowest_rate == one.highest_rate ? ""
                                              : " to " + config::number_text(one.highest_rate));
}

/// What a balance loss is one value of, and what that costs.
std::string scope_text(const config::RunConfig& c, const parallel::Topology& t) {
  if (c.balance.scope == config::BalanceScope::kSequence) return "sequence";
  if (c.balance.scope == config::BalanceScope::kPool) {
    return "pools of " + std::to_string(c.batch.pool) + " sequences";
  }
  const int64_t passes = num_micro_batches(cut_batch(c, 0, c.batch.sequences), t);
  return passes == 1 ? "global batch"
                     : "global batch, counted by one more forward pass over " +
                           std::to_string(passes) + " micro-batches: about a third of a step more";
}

std::string noise_text(const config::RunConfig& c) {
  const NoiseFloor floor = noise_floor_of(c);
  return "vio " + fixed(floor.load.max_vio, 3) + ", device " + fixed(floor.load.device_vio, 3) +
         ", cv " + fixed(floor.load.cv, 3) + " (random routing of a step's tokens)";
}

/// What a study does to the routers; nothing where it does nothing.
void router_row(Table& table, const config::RouterConfig& router) {
  if (router.force_balance) table.row("router", "NOT USED: experts are dealt out in turn");
  if (router.jitter > 0) table.row("router jitter", fixed(router.jitter, 3));
}

std::string mixture_text(const config::DataStage& stage) {
  double sum = 0;
  for (const auto& [name, weight] : stage.weights) sum += weight;
  std::string text;
  for (const auto& [name, weight] : stage.weights) {
    text += (text.empty() ? "" : ", ") + name + " " + fixed(100 * weight / sum, 1) + "%";
  }
  return text;
}

void stage_rows(Table& table, const config::RunConfig& c) {
  int64_t begin = 0;
  for (size_t i = 0; i < c.data.stages.size(); ++i) {
    const bool reached = begin < total_tokens(c);
    table.row("stage " + std::to_string(i + 1),
              mixture_text(c.data.stages[i]) + ", from " + human_count(static_cast<double>(begin)) +
                  " tokens on" + (reached ? "" : " (not reached: the run ends before)"));
    begin += c.data.stages[i].tokens;
  }
}

/// Nothing where all weights are trained alike.
void trained_section(Table& table, const config::RunConfig& c) {
  const config::FinetuneConfig standard;
  if (c.finetune == standard) return;
  table.section("trained");
  int64_t trained = 0, total = 0;
  for (const TrainedClass& one : count_trained(c, training_rate(c))) {
    table.row(nn::class_name(one.weight_class), trained_text(one));
    trained += one.trained;
    total += one.total;
  }
  table.row("together", with_separators(trained) + " of " + with_separators(total) + " (" +
                            fixed(100 * ratio(trained, total), 2) + "%)");
}

void batch_section(Table& table, const config::RunConfig& c, const parallel::Topology& t) {
  const int64_t tokens = c.batch.sequences * c.data.sequence_length;
  table.section("run");
  table.row("layout", layout_text(c, t));
  if (t.stages > 1) table.row("pipeline", pipeline_text(c, t));
  table.row("batch", std::to_string(c.batch.sequences) + " sequences x " +
                         std::to_string(c.data.sequence_length) + " = " +
                         human_count(static_cast<double>(tokens)) + " tokens, " +
                         std::to_string(c.batch.micro_sequences) + " at a time");
  table.row("length", std::to_string(total_steps(c)) + " steps, " +
                          human_count(static_cast<double>(total_tokens(c))) + " tokens");
  if (c.data.document_mask) table.row("documents", "attention and balance within each");
  stage_rows(table, c);
  table.row("balance factors", fixed(c.balance.expert, 4) + " expert, " +
                                   fixed(c.balance.device, 4) + " device, " +
                                   fixed(c.balance.communication, 4) + " communication");
  if (c.balance.bias_rate > 0) {
    table.row("bias", "each expert's moves by " + fixed(c.balance.bias_rate, 4) + " a step");
  }
  table.row("balance scope", scope_text(c, t));
  table.row("noise floor", noise_text(c));
  router_row(table, c.router);
  table.row("dropping",
            c.drop.kind == config::DropKind::kNone
                ? "none"
                : std::string(c.drop.kind == config::DropKind::kExpert ? "by experts, "
                                                                       : "by device groups, ") +
                      (c.drop.by == config::DropOrder::kPosition ? "the last first, " : "") +
                      "capacity " + fixed(c.drop.capacity, 2) + ", protected " +
                      fixed(c.drop.protected_fraction, 2) + ", pools of " +
                      std::to_string(c.batch.pool));
}

void machine_section(Table& table, const config::RunConfig& c, const parallel::Topology& t,
                     int64_t threads) {
  const MemoryEstimate memory = estimate_largest_memory(c, t);
  const auto bytes = [](int64_t n) { return human_bytes(static_cast<double>(n)); };
  table.section("machine");
  table.row("precision", precision_name(c.run.precision));
  table.row("threads per rank", std::to_string(threads));
  table.row("memory per rank",
            bytes(memory.total()) + " = weights " + bytes(memory.weights) + " + gradients " +
                bytes(memory.gradients) + " + optimizer " + bytes(memory.optimizer) +
                " + activations " + bytes(memory.activations) +
                (memory.copies > 0 ? " + copies " + bytes(memory.copies) : "") + " + data " +
                bytes(memory.data) + " + program " + bytes(memory.program));
  table.row(
      "rows per step",
      "at most " + bytes(estimate_row_bytes(c, t)) + " between experts' ranks" +
          (t.ranks_per_node > 0 ? ", " + bytes(estimate_node_row_bytes(c, t)) + " between nodes"
                                : ""));
  if (t.stages > 1) {
    table.row("pipeline per step", bytes(pipeline_bytes(c, t)) + " between stages");
  }
}

/// Of `parts` of the expert group, those other than its own that a token may visit.
int64_t most_visits(const config::ModelConfig& model, int64_t parts) {
  if (model.num_moe_layers() == 0) return 0;
  const bool whole = parts % model.n_group == 0 || model.n_group % parts == 0;
  const int64_t touched = std::max<int64_t>(1, parts / model.n_group) + (whole ? 0 : 2);
  const int64_t of_groups =
      model.topk_method == config::TopkMethod::kGreedy ? parts : model.topk_group * touched;
  return std::min({parts - 1, of_groups, model.num_experts_per_tok});
}

int64_t nodes_visited(const config::RunConfig& config, const parallel::Topology& topology) {
  if (topology.ranks_per_node == 0 || topology.ranks_per_node >= topology.expert_size) return 0;
  return most_visits(config.model, topology.expert_size / topology.ranks_per_node);
}

/// Of one row a token in each layer, there and back in both directions, and there once more for a
/// layer that is run again.
int64_t bytes_of_rows(const config::RunConfig& config) {
  const int64_t crossings = nn::recompute_of(config.run.recompute).dispatches_again() ? 5 : 4;
  return crossings * config.model.num_moe_layers() * config.batch.sequences *
         config.data.sequence_length * config.model.hidden_size *
         widths_of(config.run.precision).compute;
}

}  // namespace

int64_t pipeline_bytes(const config::RunConfig& config, const parallel::Topology& topology) {
  const int64_t crossings = 2 * (topology.stages * config.parallel.chunks - 1);
  return topology.stages == 1
             ? 0
             : crossings * config.batch.sequences * config.data.sequence_length *
                   config.model.hidden_size * widths_of(config.run.precision).compute;
}

int64_t estimate_row_bytes(const config::RunConfig& config, const parallel::Topology& topology) {
  // A row that fans out inside of a node has crossed to it before.
  const int64_t hops = most_visits(config.model, topology.expert_size) +
                       (topology.experts_span_nodes() ? nodes_visited(config, topology) : 0);
  return hops * bytes_of_rows(config);
}

int64_t estimate_node_row_bytes(const config::RunConfig& config,
                                const parallel::Topology& topology) {
  return nodes_visited(config, topology) * bytes_of_rows(config);
}

std::string run_summary(const config::RunConfig& config, const parallel::Topology& topology,
                        int64_t threads) {
  Table table;
  model_section(table, config.model);
  trained_section(table, config);
  batch_section(table, config, topology);
  machine_section(table, config, topology, threads);
  return table.text();
}

}  // namespace dsmoe::train
