#include "trainer/dry_run.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/dump.h"
#include "modules/model_census.h"
#include "parallel/devices.h"
#include "trainer/agreement.h"
#include "trainer/check_run.h"
#include "trainer/checkpoint.h"
#include "trainer/commands/memory_json.h"
#include "trainer/run_summary.h"
#include "trainer/schedule.h"
#include "trainer/session.h"

namespace dsmoe::train {
namespace {

void print_json(const config::RunConfig& config, const parallel::Topology& topology) {
  const auto census = nn::count_parameters(config.model);
  const int64_t cache = nn::kv_cache_elements(config.model);
  const auto bytes = static_cast<int64_t>(c10::elementSize(compute_dtype(config.run.precision)));
  const nlohmann::ordered_json json = {
      {"parameters", {{"total", census.total}, {"active", census.active}}},
      {"kv_cache", {{"elements_per_token", cache}, {"bytes_per_token", cache * bytes}}},
      {"length", {{"steps", total_steps(config)}, {"tokens", total_tokens(config)}}},
      {"memory", memory_json(estimate_largest_memory(config, topology))},
      {"communication",
       {{"row_bytes_per_step", estimate_row_bytes(config, topology)},
        {"node_row_bytes_per_step", estimate_node_row_bytes(config, topology)},
        {"pipeline_bytes_per_step", pipeline_bytes(config, topology)}}},
      {"config", config::dump(config)}};
  std::fputs((json.dump(2) + "\n").c_str(), stdout);
}

}  // namespace

int show_dry_run(const config::RunConfig& config, bool json, CommandContext& context) {
  agree(context.world, [&] { check_run(config, context.world.size()); });
  if (!parallel::builds_device(config.run.device)) {
    context.console.warn("run.device=" + config.run.device +
                         " is not in this build, which would refuse to train");
  }
  const auto topology = run_topology(config, context.world);
  if (!context.first()) return 0;
  if (json) {
    print_json(config, topology);
    return 0;
  }
  context.console.info(config::dump(config));
  context.console.info(
      run_summary(config, topology, threads_per_rank(config.run.threads, context.ranks_on_cores)));
  return 0;
}

}  // namespace dsmoe::train
