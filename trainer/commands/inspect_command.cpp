#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "configs/hf_config.h"
#include "configs/init_from.h"
#include "configs/validate.h"
#include "modules/model_census.h"
#include "parallel/backends.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint.h"
#include "trainer/command.h"
#include "trainer/commands/inspect_plan.h"
#include "trainer/commands/memory_json.h"
#include "trainer/human.h"
#include "trainer/inspect_schedule.h"
#include "trainer/model_directory.h"
#include "trainer/run_summary.h"
#include "trainer/session.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

struct InspectCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string target;
  std::vector<std::string> overrides;
  ScheduleQuestion schedule;
  PlanQuestion plan;
};

/// As rank 0's host has it, so that all ranks go the same way. Collective.
bool is_directory_on_first(const std::string& path, parallel::Communicator& world) {
  std::string is = std::filesystem::is_directory(path) ? "yes" : "";
  broadcast_text(is, world);
  return !is.empty();
}

config::RunConfig configuration(const InspectCommand& command, CommandContext& context) {
  if (!is_directory_on_first(command.target, context.world)) {
    return resolve_on_all(command.target, command.overrides, context);
  }
  config::RunConfig config;
  agree(context.world, [&] {
    std::vector<std::string> notices;
    config = config_of_directory(config::find_model_directory(command.target), context.world.size(),
                                 notices);
    for (const std::string& notice : notices) context.console.warn(notice);
  });
  return config;
}

/// Of the ranks that there are or, where no launcher started any, of the fewest that the layout
/// takes.
parallel::Topology inspected_topology(const config::RunConfig& config, CommandContext& context) {
  if (parallel::find_launcher().present) return run_topology(config, context.world);
  const config::ParallelConfig& layout = config.parallel;
  const int64_t ranks = layout.pipeline * layout.expert;
  config::check_layout(config, ranks);
  return parallel::make_topology(ranks, /*rank=*/0, layout.expert, layout.pipeline,
                                 layout.ranks_per_node);
}

nlohmann::ordered_json report(const config::RunConfig& config, const parallel::Topology& topology) {
  const auto parameters = nn::count_parameters(config.model);
  const auto flops = nn::count_flops(config.model, config.data.sequence_length);
  const int64_t cache = nn::kv_cache_elements(config.model);
  const auto bytes = static_cast<int64_t>(c10::elementSize(compute_dtype(config.run.precision)));
  const auto parts = nn::count_parts(config.model);
  const auto caches = nn::compare_caches(config.model);
  const auto traffic = nn::count_traffic(config.model);
  const auto row = static_cast<double>(config.model.hidden_size * bytes);
  const auto verdict = config::hf_class(config.model);
  return {{"layout",
           {{"ranks", topology.world},
            {"pipeline", config.parallel.pipeline},
            {"expert", config.parallel.expert}}},
          {"parameters",
           {{"total", parameters.total},
            {"active", parameters.active},
            {"active_without_input_embedding", parameters.active_without_input_embedding},
            {"active_without_embeddings", parameters.active_without_embeddings},
            {"input_embedding", parts.input_embedding},
            {"output_head", parts.output_head},
            {"attention", parts.attention},
            {"dense_feed_forward", parts.dense_feed_forward},
            {"routed_experts", parts.routed_experts},
            {"shared_experts", parts.shared_experts},
            {"router", parts.router},
            {"norms", parts.norms}}},
          {"flops_per_token",
           {{"forward", flops.forward},
            {"training", flops.training},
            {"training_noncausal", flops.training_noncausal},
            {"training_paper", flops.training_paper},
            {"decode", flops.decode},
            {"sequence_length", flops.sequence_length}}},
          {"kv_cache",
           {{"elements_per_token", cache},
            {"bytes_per_token", cache * bytes},
            {"mha_elements_per_token", caches.mha},
            {"gqa_elements_per_token", caches.gqa},
            {"mqa_elements_per_token", caches.mqa}}},
          {"memory", memory_json(estimate_largest_memory(config, topology))},
          {"communication",
           {{"row_bytes_per_step", estimate_row_bytes(config, topology)},
            {"node_row_bytes_per_step", estimate_node_row_bytes(config, topology)},
            {"naive_bytes_per_token", traffic.naive * row},
            {"deduplicated_bytes_per_token", traffic.deduplicated * row},
            {"device_limited_bytes_per_token", traffic.device_limited * row}}},
          {"hf_class", config::hf_class_name(verdict.hf_class)},
          {"hf_class_reason", verdict.reason}};
}

/// The same numbers as a table: one section a key.
std::string table_of(const nlohmann::ordered_json& json) {
  Table table;
  table.section("model");
  table.row("hf_class", json["hf_class"].get<std::string>());
  for (const auto& [title, rows] : json.items()) {
    if (!rows.is_object()) continue;
    table.section(title);
    for (const auto& [key, value] : rows.items()) {
      table.row(key, value.is_number_integer() ? with_separators(value.get<int64_t>())
                                               : human_count(value.get<double>()));
    }
  }
  return table.text();
}

/// What a drawing would ignore.
void check_alone(const InspectCommand& command) {
  if (!command.target.empty()) {
    throw ConfigError("--schedule draws a schedule alone, not `" + command.target +
                      "`\nhint: leave one of them out");
  }
  if (command.plan == PlanQuestion{}) return;
  throw ConfigError(
      "--schedule draws a schedule alone, and --cluster, --nodes and --layouts ask for a plan"
      "\nhint: ask for one, then the other");
}

int show_schedule(const InspectCommand& command, CommandContext& context) {
  std::string text;
  agree(context.world, [&] {
    check_alone(command);
    if (context.first()) text = inspect_schedule(command.schedule, command.json);
  });
  std::fputs(text.c_str(), stdout);
  return 0;
}

int show_plan(const InspectCommand& command, const config::RunConfig& config,
              CommandContext& context) {
  std::string text;
  agree(context.world, [&] {
    if (context.first()) text = inspect_plan(config, command.plan, command.json);
  });
  std::fputs(text.c_str(), stdout);
  return 0;
}

void check_options(const InspectCommand& command) {
  if (command.schedule != ScheduleQuestion{}) {
    throw ConfigError(
        "--stages, --micro-batches, --chunks, --put-off and --svg are of a schedule, and none is "
        "asked for"
        "\nhint: give --schedule KIND");
  }
  if (command.plan.cluster.empty() && command.plan != PlanQuestion{}) {
    throw ConfigError(
        "--nodes and --layouts are of a cluster, and none is named"
        "\nhint: give --cluster FILE, such as configs/clusters/h800_16x8.yaml");
  }
  if (std::filesystem::is_directory(command.target) && !command.overrides.empty()) {
    throw ConfigError("inspect " + command.target + ": `" + command.overrides.front() +
                      "` changes nothing in a model directory"
                      "\nhint: leave it out, or give a YAML file with model.init_from");
  }
  if (!command.target.empty()) return;
  throw ConfigError(
      "inspect: no target\nhint: give a YAML file, a model directory or --schedule KIND");
}

Verb InspectCommand::verb() {
  return {
      "inspect",
      "parameters, FLOPs, cache and memory; a plan for a cluster; or a pipeline schedule",
      {{"target", &target, "YAML file or model directory"},
       {"overrides", &overrides, "key=value ..."},
       {"--cluster", &plan.cluster, "plan for a machine: a file of configs/clusters/"},
       {"--nodes", &plan.nodes, "of the cluster, instead of its file's", /*required=*/false,
        Range::kPositive},
       {"--layouts", &plan.layouts, "of the cluster's best that are shown", /*required=*/false,
        Range::kPositive},
       {"--schedule", &schedule.kind, "draw a pipeline schedule: gpipe, 1f1b, zb_h1, interleaved"},
       {"--stages", &schedule.stages, "of the schedule", /*required=*/false, Range::kPositive},
       {"--micro-batches", &schedule.micro_batches, "of the schedule", /*required=*/false,
        Range::kPositive},
       {"--chunks", &schedule.chunks, "slices of layers a stage: interleaved",
        /*required=*/false, Range::kPositive},
       {"--put-off", &schedule.put_off, "share of what zb_h1 puts off, 0 to 1"},
       {"--svg", &schedule.svg, "write the drawing to a file as well"},
       json_argument(*this)}};
}

int InspectCommand::run(CommandContext& context) {
  if (!schedule.kind.empty()) return show_schedule(*this, context);
  agree(context.world, [&] { check_options(*this); });
  const config::RunConfig config = configuration(*this, context);
  if (!plan.cluster.empty()) return show_plan(*this, config, context);
  const auto topology = inspected_topology(config, context);
  if (!context.first()) return 0;
  const auto numbers = report(config, topology);
  std::fputs(((json ? numbers.dump(2) : table_of(numbers)) + "\n").c_str(), stdout);
  return 0;
}

}  // namespace

std::unique_ptr<Command> inspect_command() { return std::make_unique<InspectCommand>(); }

}  // namespace dsmoe::train
