#include "configs/validate.h"

#include <algorithm>

#include "configs/checks.h"
#include "configs/fields.h"
#include "configs/nearest.h"

namespace dsmoe::config {
namespace {

void check_recompute(const RunConfig& config, ErrorList& errors) {
  const std::vector<std::string> kinds{"layer", "norms", "mla_up", "swiglu", "experts", "moe"};
  const auto& asked = config.run.recompute;
  const auto asks = [&](const char* name) {
    return std::find(asked.begin(), asked.end(), name) != asked.end();
  };
  for (const std::string& name : asked) {
    require(std::find(kinds.begin(), kinds.end(), name) != kinds.end(),
            "run.recompute: `" + name + "` is none of layer, norms, mla_up, swiglu, experts, moe",
            errors);
    require(name != "layer" || asked.size() == 1,
            "run.recompute: layer already computes everything again; the other " +
                std::to_string(asked.size() - 1) + " would do nothing",
            errors);
  }
  require(!asks("moe") || !asks("experts"),
          "run.recompute: moe already computes the routed experts again; experts would do nothing",
          errors);
}

/// Every slice has a layer, and the slices are the model.
void check_pipeline(const RunConfig& config, ErrorList& errors) {
  const ParallelConfig& p = config.parallel;
  if (p.pipeline == 1) return;
  require((p.schedule == "interleaved") == (p.chunks > 1),
          shown("parallel.chunks", p.chunks) + " with parallel.schedule: " + p.schedule +
              ": interleaved takes at least 2, the others 1",
          errors);
  const int64_t slices = p.pipeline * p.chunks, layers = config.model.num_hidden_layers;
  require(slices <= layers,
          shown("parallel.pipeline", p.pipeline) + " times " + shown("parallel.chunks", p.chunks) +
              " is more than " + shown("model.num_hidden_layers", layers),
          errors);
  if (p.stage_layers.empty()) return;
  const auto listed = static_cast<int64_t>(p.stage_layers.size());
  require(listed == slices,
          "parallel.stage_layers lists " + std::to_string(listed) + " counts, " +
              shown("parallel.pipeline", p.pipeline) + " times " +
              shown("parallel.chunks", p.chunks) + " slices have one each",
          errors);
  int64_t sum = 0;
  for (const int64_t count : p.stage_layers) sum += count;
  require(sum == layers,
          "parallel.stage_layers add up to " + std::to_string(sum) + ", not to " +
              shown("model.num_hidden_layers", layers),
          errors);
}

void check_expert_parallel(const RunConfig& config, ErrorList& errors) {
  const int64_t ranks = config.parallel.expert;
  if (config.model.n_routed_experts == 0) {
    require(ranks == 1,
            shown("parallel.expert", ranks) + " must be 1 where model.n_routed_experts is 0",
            errors);
    return;
  }
  require_divisible("model.n_routed_experts", config.model.n_routed_experts, "parallel.expert",
                    ranks, errors);
  const int64_t groups = config.model.n_group;
  require(groups % ranks == 0 || ranks % groups == 0,
          shown("parallel.expert", ranks) + " must divide " + shown("model.n_group", groups) +
              " or be a multiple of it",
          errors);
}

void check_nodes(const RunConfig& config, ErrorList& errors) {
  const int64_t node = config.parallel.ranks_per_node, ranks = config.parallel.expert;
  if (node <= 0 || ranks <= 0) return;
  require(node % ranks == 0 || ranks % node == 0,
          shown("parallel.ranks_per_node", node) + " must divide " +
              shown("parallel.expert", ranks) + " or be a multiple of it",
          errors);
}

void check_pools(const RunConfig& config, ErrorList& errors) {
  const int64_t taken = config.parallel.expert * config.batch.micro_sequences;
  require(taken % config.batch.pool == 0,
          shown("parallel.expert", config.parallel.expert) + " times " +
              shown("batch.micro_sequences", config.batch.micro_sequences) +
              " must be divisible by " + shown("batch.pool", config.batch.pool),
          errors);
}

void check_bias(const RunConfig& config, ErrorList& errors) {
  require(config.balance.bias_rate == 0.0 || config.model.topk_method == TopkMethod::kNoauxTc,
          "balance.bias_rate (" + std::to_string(config.balance.bias_rate) +
              ") moves a bias that only model.topk_method noaux_tc has",
          errors);
}

void check_ramp(const BatchConfig& batch, ErrorList& errors) {
  require((batch.ramp_from > 0) == (batch.ramp_steps > 0),
          shown("batch.ramp_from", batch.ramp_from) + " and " +
              shown("batch.ramp_steps", batch.ramp_steps) + " must both be above 0, or both 0",
          errors);
  require_at_most("batch.ramp_from", batch.ramp_from, "batch.sequences", batch.sequences, errors);
}

void check_decay_points(const std::vector<double>& at, ErrorList& errors) {
  for (size_t i = 1; i < at.size(); ++i) {
    require(at[i - 1] < at[i],
            "schedule.at must ascend: " + std::to_string(at[i - 1]) + " stands before " +
                std::to_string(at[i]),
            errors);
  }
}

void check_schedule(const RunConfig& config, ErrorList& errors) {
  const ScheduleConfig& schedule = config.schedule;
  require(schedule.steps == 0 || schedule.tokens == 0,
          shown("schedule.steps", schedule.steps) + " and " +
              shown("schedule.tokens", schedule.tokens) + " must not both be given",
          errors);
  check_decay_points(schedule.at, errors);
  if (schedule.steps > 0) {
    require_at_most("schedule.warmup_steps", schedule.warmup_steps, "schedule.steps",
                    schedule.steps, errors);
  }
  const int64_t step_tokens = config.batch.sequences * config.data.sequence_length;
  if (schedule.tokens > 0 && config.batch.ramp_from == 0) {
    // As doubles: the product of three counts may overflow.
    require(static_cast<double>(schedule.warmup_steps) * static_cast<double>(step_tokens) <=
                static_cast<double>(schedule.tokens),
            shown("schedule.warmup_steps", schedule.warmup_steps) + " of " +
                std::to_string(step_tokens) + " tokens must not be longer than " +
                shown("schedule.tokens", schedule.tokens),
            errors);
  }
}

void check_allowed_changes(const std::vector<std::string>& allowed, ErrorList& errors) {
  const std::vector<std::string> known = all_keys();
  for (const std::string& key : allowed) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const std::string close = nearest(key, known);
      errors.add("run.allow_change: `" + key + "` is no key such as " +
                 (close.empty() ? "batch.sequences" : close));
    }
  }
}

void check_source_names(const std::vector<DataSource>& sources, const std::string& list,
                        ErrorList& errors) {
  for (size_t i = 0; i < sources.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      require(sources[i].name != sources[j].name,
              list + "[" + std::to_string(j) + "] and [" + std::to_string(i) +
                  "] have the same name, " + sources[i].name,
              errors);
    }
  }
}

void check_stage_sources(const DataConfig& data, size_t index, ErrorList& errors) {
  std::vector<std::string> known;
  for (const DataSource& source : data.train) known.push_back(source.name);
  const std::string key = "data.stages[" + std::to_string(index) + "].weights";
  const DataStage& stage = data.stages[index];
  require(!stage.weights.empty(), key + " names no source", errors);
  for (const auto& [name, weight] : stage.weights) {
    require(std::find(known.begin(), known.end(), name) != known.end(),
            key + "." + name + ": no source of data.train has that name; they are " +
                joined_words(known),
            errors);
  }
}

void check_stages(const DataConfig& data, ErrorList& errors) {
  for (size_t i = 0; i < data.stages.size(); ++i) {
    check_stage_sources(data, i, errors);
    require(data.stages[i].tokens > 0 || i + 1 == data.stages.size(),
            "data.stages[" + std::to_string(i) + "].tokens is missing: only the last of " +
                std::to_string(data.stages.size()) + " stages may go on to the end of the run",
            errors);
  }
}

void check_data(const RunConfig& config, ErrorList& errors) {
  require_at_most("data.sequence_length", config.data.sequence_length,
                  "model.max_position_embeddings", config.model.max_position_embeddings, errors);
  check_source_names(config.data.train, "data.train", errors);
  check_source_names(config.data.eval, "data.eval", errors);
  check_stages(config.data, errors);
}

void check_packing(const DataConfig& data, ErrorList& errors) {
  require(data.packing == Packing::kStream || data.document_mask,
          "data.packing (whole) lays conversations side by side that must not see each other: "
          "data.document_mask must be true",
          errors);
  for (const DataSource& trained : data.train) {
    for (const DataSource& evaluated : data.eval) {
      require(data.held_out == 0 || trained.name != evaluated.name,
              "data.held_out is evaluated under the names of data.train: data.eval has " +
                  evaluated.name + " too",
              errors);
    }
  }
}

void check_finetune(const RunConfig& config, ErrorList& errors) {
  const FinetuneConfig& finetune = config.finetune;
  const bool starts = !config.model.init_from.empty();
  require(finetune.method == FinetuneMethod::kFull || starts,
          "finetune.method (lora or esft) needs trained weights to begin from: model.init_from "
          "is null",
          errors);
  require(finetune.method != FinetuneMethod::kLora || !finetune.lora.target.empty(),
          "finetune.lora.target is empty: no matrix would get an adapter", errors);
  require(finetune.method != FinetuneMethod::kLora || finetune.freeze.empty(),
          "finetune.freeze: with finetune.method (lora) all weights are frozen already; leave "
          "matrices out of finetune.lora.target instead",
          errors);
  require(finetune.method != FinetuneMethod::kEsft || config.model.num_moe_layers() > 0,
          "finetune.method (esft) trains routed experts: model has none", errors);
}

void check_byte_tokenizer(const RunConfig& config, ErrorList& errors) {
  constexpr int64_t kBos = 256;
  constexpr int64_t kEos = 257;
  constexpr int64_t kVocabulary = 259;
  if (config.data.tokenizer != "byte") {
    return;
  }
  const ModelConfig& model = config.model;
  require(model.vocab_size >= kVocabulary,
          shown("model.vocab_size", model.vocab_size) +
              " must be at least 259, the ids of data.tokenizer (byte)",
          errors);
  require(model.bos_token_id == kBos && model.eos_token_id == kEos,
          shown("model.bos_token_id", model.bos_token_id) + " and " +
              shown("model.eos_token_id", model.eos_token_id) +
              " must be 256 and 257, as in data.tokenizer (byte)",
          errors);
}

}  // namespace

void check_config(const RunConfig& config) {
  ErrorList errors;
  collect_model_errors(config.model, errors);
  check_pipeline(config, errors);
  check_recompute(config, errors);
  check_expert_parallel(config, errors);
  check_nodes(config, errors);
  check_pools(config, errors);
  check_allowed_changes(config.run.allow_change, errors);
  check_bias(config, errors);
  check_ramp(config.batch, errors);
  check_schedule(config, errors);
  check_data(config, errors);
  check_packing(config.data, errors);
  check_finetune(config, errors);
  errors.throw_if_any();
}

void check_training(const RunConfig& config) {
  ErrorList errors;
  require(!config.data.train.empty(), "data.train is empty: training needs at least one source",
          errors);
  require(config.schedule.steps > 0 || config.schedule.tokens > 0,
          "schedule.steps (0) and schedule.tokens (0): one of them must be above 0", errors);
  check_byte_tokenizer(config, errors);
  errors.throw_if_any();
}

void check_layout(const RunConfig& config, int64_t world) {
  ErrorList errors;
  const int64_t block = config.parallel.pipeline * config.parallel.expert;
  require(world % block == 0,
          "the number of ranks (" + std::to_string(world) + ") must be divisible by " +
              shown("parallel.pipeline", config.parallel.pipeline) + " times " +
              shown("parallel.expert", config.parallel.expert),
          errors);
  require(config.parallel.backend != "local" || world == 1,
          "parallel.backend (local) has one rank, not " + std::to_string(world), errors);
  check_expert_parallel(config, errors);
  check_nodes(config, errors);
  check_pools(config, errors);
  if (world % block == 0) return errors.throw_if_any();
  errors.throw_if_any("start it with mpirun -np N, N a multiple of " + std::to_string(block) +
                      ", or give parallel.pipeline and parallel.expert that fit");
}

}  // namespace dsmoe::config
