#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "modules/model_census.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/cluster_bench.h"
#include "trainer/command.h"
#include "trainer/commands/network_report.h"
#include "trainer/commands/overlap_report.h"
#include "trainer/decode_bench.h"
#include "trainer/human.h"
#include "trainer/roof.h"
#include "trainer/session.h"
#include "trainer/step_bench.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

struct BenchCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string what;
  std::string config_path;
  std::vector<std::string> overrides;
  int64_t steps = 0;  ///< 0: as many as usual
  std::vector<int64_t> contexts;
  std::string output;

 private:
  int run_step(const config::RunConfig& config, CommandContext& context);
  int run_decode(const config::RunConfig& config, CommandContext& context);
  int run_network(CommandContext& context);
  int run_overlap(const config::RunConfig& config, CommandContext& context);
  int run_cluster(const config::RunConfig& config, CommandContext& context);
  /// Options that would say nothing.
  void check_options(const CommandContext& context) const;
};

std::string rate(double flops_per_second, double roof) {
  return fixed(flops_per_second / 1e9, 1) + " GFLOP/s, " +
         fixed(100.0 * flops_per_second / roof, 1) + " % of the square";
}

/// Model FLOPs of the forward or backward pass of one step.
struct StepFlops {
  double forward;
  double backward;
};

StepFlops step_flops(const config::RunConfig& config) {
  const auto flops = nn::count_flops(config.model, config.data.sequence_length);
  const auto tokens = static_cast<double>(config.batch.sequences * config.data.sequence_length);
  return {flops.forward * tokens, 2.0 * flops.forward * tokens};
}

void show_roof(Table& table, const std::vector<RoofPoint>& points) {
  table.section("at::matmul");
  for (const RoofPoint& p : points) {
    table.row(p.name, std::to_string(p.m) + " x " + std::to_string(p.k) + " x " +
                          std::to_string(p.n) + "  " +
                          rate(p.flops_per_second, points[0].flops_per_second));
  }
}

void show_step(Table& table, const config::RunConfig& config, const StepTimes& best, double roof) {
  const StepFlops flops = step_flops(config);
  const auto tokens = static_cast<double>(config.batch.sequences * config.data.sequence_length);
  table.section("step, best");
  table.row("whole", fixed(1e3 * best.total, 1) + " ms, " + human_count(tokens / best.total) +
                         " tokens/s, " + rate((flops.forward + flops.backward) / best.total, roof));
  table.row("forward",
            fixed(1e3 * best.forward, 1) + " ms, " + rate(flops.forward / best.forward, roof));
  table.row("backward",
            fixed(1e3 * best.backward, 1) + " ms, " + rate(flops.backward / best.backward, roof));
  table.row("communication", fixed(1e3 * best.communication, 1) +
                                 " ms, within the two and, in a pipeline, beside them");
  table.row("optimizer", fixed(1e3 * best.optimizer, 1) + " ms");
}

nlohmann::ordered_json to_json(const config::RunConfig& config, const std::vector<RoofPoint>& roof,
                               const BenchResult& result) {
  const StepTimes& best = result.best;
  const StepFlops flops = step_flops(config);
  nlohmann::ordered_json json;
  for (const RoofPoint& p : roof) {
    json["roof"].push_back(
        {{"name", p.name}, {"m", p.m}, {"k", p.k}, {"n", p.n}, {"flops", p.flops_per_second}});
  }
  json["step"] = {{"seconds", best.total},
                  {"median_seconds", result.median_seconds},
                  {"forward", best.forward},
                  {"backward", best.backward},
                  {"communication", best.communication},
                  {"optimizer", best.optimizer}};
  const double rate = (flops.forward + flops.backward) / best.total;
  json["flops"] = rate;
  json["share_of_roof"] = rate / roof[0].flops_per_second;
  json["peak_bytes"] = result.largest_memory().peak_bytes;
  json["estimated_bytes"] = result.largest_memory().estimated_bytes;
  for (const RankMemory& one : result.memory) {
    json["ranks"].push_back(
        {{"peak_bytes", one.peak_bytes}, {"estimated_bytes", one.estimated_bytes}});
  }
  json["sent_bytes"] = result.sent_bytes;
  return json;
}

Verb BenchCommand::verb() {
  return {"bench",
          "time training steps against at::matmul, decoding against its cache, the network, "
          "what communication beside calculation is worth; or writing down all that inspect "
          "--cluster must know",
          {{"what",
            &what,
            "step, decode, network, overlap or cluster",
            /*required=*/true,
            Range::kAny,
            {"step", "decode", "network", "overlap", "cluster"}},
           {"config", &config_path, "YAML file; not for network"},
           {"overrides", &overrides, "key=value ..."},
           {"--steps", &steps, "timed steps, tokens or exchanges (default: 5)", /*required=*/false,
            Range::kPositive},
           {"--output", &output, "cluster: the file to write"},
           {"--context", &contexts, "decode: tokens in the cache (default: 1024,8192,32768)"},
           json_argument(*this)}};
}

nlohmann::ordered_json to_json(const std::vector<DecodeTime>& times) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const DecodeTime& t : times) {
    json.push_back(
        {{"context", t.context}, {"seconds", t.seconds}, {"cache_bytes", t.cache_bytes}});
  }
  return {{"decode", json}};
}

int BenchCommand::run_decode(const config::RunConfig& config, CommandContext& context) {
  if (contexts.empty()) contexts = {1024, 8192, 32768};
  const auto times = bench_decode(config, contexts, steps, context);
  if (!context.first()) return 0;
  if (json) {
    std::fputs((to_json(times).dump(2) + "\n").c_str(), stdout);
    return 0;
  }
  Table table;
  table.section("a token after");
  for (const DecodeTime& t : times) {
    const auto bytes = static_cast<double>(t.cache_bytes);
    table.row(with_separators(t.context) + " tokens", fixed(1e3 * t.seconds, 2) + " ms, cache " +
                                                          human_bytes(bytes) + ", " +
                                                          human_bytes(bytes / t.seconds) + "/s");
  }
  context.console.info(table.text());
  return 0;
}

int BenchCommand::run_network(CommandContext& context) {
  const auto times = bench_network(context.world, steps);
  const auto threads = gather_number(threads_per_rank(0, context.ranks_on_cores), context.world);
  if (!context.first()) return 0;
  if (json) {
    std::fputs((network_json(times, context.placements).dump(2) + "\n").c_str(), stdout);
  } else {
    context.console.info(network_text(times, context.placements, threads));
  }
  return 0;
}

int BenchCommand::run_overlap(const config::RunConfig& config, CommandContext& context) {
  const OverlapResult result = bench_overlap(config, steps, context);
  if (!context.first()) return 0;
  if (json) {
    std::fputs((overlap_json(result).dump(2) + "\n").c_str(), stdout);
  } else {
    context.console.info(overlap_text(result));
  }
  return 0;
}

void check_host(const config::RunConfig& config) {
  if (config.run.device == "cpu") return;
  throw ConfigError("bench cluster measures hosts alone, and run.device is " + config.run.device +
                    "\nhint: write a file such as configs/clusters/h800_16x8.yaml by hand");
}

int BenchCommand::run_cluster(const config::RunConfig& config, CommandContext& context) {
  agree(context.world, [&] { check_host(config); });
  const config::ClusterConfig cluster = bench_cluster(config, context);
  agree(context.world, [&] {
    const std::string text = "# Measured by dsmoe bench cluster " + config_path + " on " +
                             std::to_string(context.world.size()) + " ranks.\n" +
                             config::dump(cluster);
    if (context.first()) write_file_atomically(output, text);
  });
  context.console.info("wrote " + output);
  if (json && context.first()) {
    const nlohmann::ordered_json told = {{"output", output}, {"cluster", config::dump(cluster)}};
    std::fputs((told.dump(2) + "\n").c_str(), stdout);
  }
  return 0;
}

void BenchCommand::check_options(const CommandContext& context) const {
  if ((what == "cluster") == output.empty()) {
    throw ConfigError(what == "cluster"
                          ? "bench cluster: no file to write\nhint: give --output FILE.yaml"
                          : "--output says nothing of bench " + what +
                                "\nhint: it is for bench cluster");
  }
  if (what != "decode" && !contexts.empty()) {
    throw ConfigError("--context says nothing of bench " + what + "\nhint: it is for bench decode");
  }
  if (what == "cluster" && steps != 0) {
    throw ConfigError(
        "--steps says nothing of bench cluster, which repeats each measurement as it needs"
        "\nhint: leave it out");
  }
  if (what != "network" && config_path.empty()) {
    throw ConfigError("bench " + what + ": no configuration\nhint: name a YAML file");
  }
  if (what == "network" && !config_path.empty()) {
    throw ConfigError("bench network: " + config_path +
                      " says nothing of a network\nhint: leave it out");
  }
  const bool talks = what == "network" || what == "overlap";
  if (!talks || context.world.size() > 1) return;
  throw ConfigError("bench " + what +
                    ": 1 rank has nobody to talk to\nhint: start it with mpirun -np N");
}

int BenchCommand::run(CommandContext& context) {
  agree(context.world, [&] { check_options(context); });
  if (steps == 0) steps = 5;
  if (what == "network") return run_network(context);
  const config::RunConfig config = resolve_on_all(config_path, overrides, context);
  if (what == "overlap") return run_overlap(config, context);
  if (what == "cluster") return run_cluster(config, context);
  return what == "decode" ? run_decode(config, context) : run_step(config, context);
}

int BenchCommand::run_step(const config::RunConfig& config, CommandContext& context) {
  const BenchResult result = bench_steps(config, steps, context);
  std::vector<RoofPoint> roof = roof_points(config);
  for (RoofPoint& point : roof) measure(point, config.run.precision, result.device);
  if (!context.first()) return 0;
  if (json) {
    std::fputs((to_json(config, roof, result).dump(2) + "\n").c_str(), stdout);
    return 0;
  }
  Table table;
  show_roof(table, roof);
  show_step(table, config, result.best, roof[0].flops_per_second);
  table.section(result.memory.size() > 1 ? "memory, of the rank that has most" : "memory");
  const RankMemory most = result.largest_memory();
  table.row("peak resident", human_bytes(static_cast<double>(most.peak_bytes)));
  table.row("estimated", human_bytes(static_cast<double>(most.estimated_bytes)));
  context.console.info(table.text());
  return 0;
}

}  // namespace

std::unique_ptr<Command> bench_command() { return std::make_unique<BenchCommand>(); }

}  // namespace dsmoe::train
