#include "configs/validate.h"

#include <algorithm>

namespace dsmoe::config {
namespace {

/// Collects the keys that differ from their default though nothing reads them.
class Unread {
 public:
  explicit Unread(std::string because) : because_(std::move(because)) {}

  template <class T>
  Unread& key(const std::string& name, const T& value, const T& standard) {
    if (value != standard) {
      notices_.push_back(name + " has no effect with " + because_);
    }
    return *this;
  }

  void append_to(std::vector<std::string>& out) const {
    out.insert(out.end(), notices_.begin(), notices_.end());
  }

 private:
  std::string because_;
  std::vector<std::string> notices_;
};

void schedule_keys(const ScheduleConfig& schedule, std::vector<std::string>& out) {
  const ScheduleConfig standard;
  const ScheduleKind kind = schedule.kind;
  if (kind != ScheduleKind::kStep) {
    Unread("a schedule.kind other than step")
        .key("schedule.at", schedule.at, standard.at)
        .key("schedule.factor", schedule.factor, standard.factor)
        .append_to(out);
  }
  if (kind == ScheduleKind::kStep || kind == ScheduleKind::kConstant) {
    Unread("schedule.kind step or constant")
        .key("schedule.min_ratio", schedule.min_ratio, standard.min_ratio)
        .append_to(out);
  }
  if (kind != ScheduleKind::kWsd) {
    Unread("a schedule.kind other than wsd")
        .key("schedule.decay_fraction", schedule.decay_fraction, standard.decay_fraction)
        .append_to(out);
  }
}

void drop_keys(const RunConfig& config, std::vector<std::string>& out) {
  if (config.drop.kind != DropKind::kNone) {
    return;
  }
  const DropConfig standard;
  Unread("drop.kind: none")
      .key("drop.capacity", config.drop.capacity, standard.capacity)
      .key("drop.protected", config.drop.protected_fraction, standard.protected_fraction)
      .key("drop.by", config.drop.by, standard.by)
      .key("eval.drop", config.eval.drop, EvalConfig{}.drop)
      .key("balance.count", config.balance.count, BalanceConfig{}.count)
      .append_to(out);
}

void parallel_keys(const ParallelConfig& parallel, std::vector<std::string>& out) {
  const ParallelConfig standard;
  if (parallel.expert == 1) {
    Unread("parallel.expert: 1")
        .key("parallel.ranks_per_node", parallel.ranks_per_node, standard.ranks_per_node)
        .append_to(out);
  }
  if (!parallel.overlap) {
    Unread("parallel.overlap: false")
        .key("parallel.bucket_mib", parallel.bucket_mib, standard.bucket_mib)
        .append_to(out);
  }
  if (parallel.pipeline > 1 && parallel.schedule != "zb_h1") {
    Unread("parallel.schedule: " + parallel.schedule)
        .key("parallel.put_off", parallel.put_off, standard.put_off)
        .append_to(out);
  }
  if (parallel.pipeline > 1) return;
  Unread("parallel.pipeline: 1")
      .key("parallel.schedule", parallel.schedule, standard.schedule)
      .key("parallel.chunks", parallel.chunks, standard.chunks)
      .key("parallel.put_off", parallel.put_off, standard.put_off)
      .key("parallel.stage_layers", parallel.stage_layers, standard.stage_layers)
      .append_to(out);
}

void model_keys(const ModelConfig& model, std::vector<std::string>& out) {
  if (model.topk_method == TopkMethod::kGreedy) {
    Unread("model.topk_method: greedy")
        .key("model.group_score", model.group_score, ModelConfig{}.group_score)
        .append_to(out);
  }
  if (!model.is_mla()) {
    Unread("a model.attention.kind other than mla")
        .key("model.q_lora_rank", model.q_lora_rank, ModelConfig{}.q_lora_rank)
        .key("model.kv_lora_rank", model.kv_lora_rank, ModelConfig{}.kv_lora_rank)
        .append_to(out);
  }
}

void recompute_keys(const RunConfig& config, std::vector<std::string>& out) {
  const auto asks = [&](const char* name) {
    const auto& asked = config.run.recompute;
    return std::find(asked.begin(), asked.end(), name) != asked.end();
  };
  const ModelConfig& model = config.model;
  if (!model.is_mla() && asks("mla_up")) {
    out.emplace_back(
        "run.recompute: mla_up has no effect with a model.attention.kind other than mla");
  }
  for (const char* name : {"experts", "moe"}) {
    if (model.num_moe_layers() > 0 || !asks(name)) continue;
    out.push_back(std::string("run.recompute: ") + name +
                  " has no effect without a layer of routed experts");
  }
  const bool all_routed = model.num_moe_layers() == model.num_hidden_layers;
  if (all_routed && asks("swiglu") && (model.n_shared_experts == 0 || asks("moe"))) {
    out.push_back(std::string("run.recompute: swiglu has no effect without a dense layer and ") +
                  (asks("moe") ? "with moe" : "without shared experts"));
  }
}

void router_keys(const RunConfig& config, std::vector<std::string>& out) {
  const RouterConfig standard;
  if (config.model.num_moe_layers() > 0) return;
  Unread("no layer of routed experts")
      .key("router.jitter", config.router.jitter, standard.jitter)
      .key("router.force_balance", config.router.force_balance, standard.force_balance)
      .append_to(out);
}

/// Pools are for dropping and for losses of that scope.
void pool_key(const RunConfig& config, std::vector<std::string>& out) {
  if (config.drop.kind != DropKind::kNone || config.balance.scope == BalanceScope::kPool) {
    return;
  }
  Unread("drop.kind: none and a balance.scope other than pool")
      .key("batch.pool", config.batch.pool, BatchConfig{}.pool)
      .append_to(out);
}

void data_keys(const DataConfig& data, std::vector<std::string>& out) {
  if (data.stages.empty()) {
    return;
  }
  Unread unread("data.stages");
  for (size_t i = 0; i < data.train.size(); ++i) {
    unread.key("data.train[" + std::to_string(i) + "].weight", data.train[i].weight,
               DataSource{}.weight);
  }
  unread.append_to(out);
}

/// What only conversations, whole in their rows, are asked for.
void packing_keys(const DataConfig& data, std::vector<std::string>& out) {
  if (data.packing == Packing::kWhole) return;
  const DataConfig standard;
  Unread unread("data.packing: stream");
  unread.key("data.chat_template", data.chat_template, standard.chat_template)
      .key("data.overlong", data.overlong, standard.overlong)
      .key("data.bad_rows", data.bad_rows, standard.bad_rows)
      .key("data.held_out", data.held_out, standard.held_out);
  for (const auto* sources : {&data.train, &data.eval}) {
    for (const DataSource& source : *sources) {
      unread.key("columns of " + source.name, source.columns, ColumnNames{})
          .key("tags of " + source.name, source.tags, TagNames{});
    }
  }
  unread.append_to(out);
}

void finetune_keys(const FinetuneConfig& finetune, std::vector<std::string>& out) {
  const FinetuneConfig standard;
  if (finetune.method != FinetuneMethod::kLora) {
    Unread("a finetune.method other than lora")
        .key("finetune.lora", finetune.lora, standard.lora)
        .append_to(out);
  }
  if (finetune.method != FinetuneMethod::kEsft) {
    Unread("a finetune.method other than esft")
        .key("finetune.esft", finetune.esft, standard.esft)
        .append_to(out);
  }
}

}  // namespace

std::vector<std::string> without_effect(const RunConfig& config) {
  std::vector<std::string> out;
  parallel_keys(config.parallel, out);
  recompute_keys(config, out);
  model_keys(config.model, out);
  router_keys(config, out);
  schedule_keys(config.schedule, out);
  drop_keys(config, out);
  pool_key(config, out);
  data_keys(config.data, out);
  packing_keys(config.data, out);
  finetune_keys(config.finetune, out);
  return out;
}

}  // namespace dsmoe::config
