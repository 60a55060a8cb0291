#include "trainer/commands/plan_report.h"

#include "trainer/commands/memory_json.h"
#include "trainer/human.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::ordered_json;

std::string bytes(double value) { return human_bytes(value); }
std::string bytes(int64_t value) { return human_bytes(static_cast<double>(value)); }

/// Three digits of whatever size.
std::string time_text(double seconds) {
  if (seconds < 1e-3) return fixed(1e6 * seconds, 1) + " us";
  return seconds < 1 ? fixed(1e3 * seconds, 1) + " ms" : fixed(seconds, 2) + " s";
}

std::string percent(double share) { return fixed(100 * share, 1) + " %"; }

void memory_section(Table& table, const MemoryEstimate& memory, double limit) {
  table.section("memory per rank, of the stage that needs most");
  table.row("weights", bytes(memory.weights));
  table.row("gradients", bytes(memory.gradients));
  table.row("optimizer", bytes(memory.optimizer));
  table.row("activations", bytes(memory.activations));
  if (memory.copies > 0) table.row("checkpoint copies", bytes(memory.copies));
  table.row("data and program", bytes(memory.data + memory.program));
  const auto total = static_cast<double>(memory.total());
  table.row("together", bytes(total) + " of " + bytes(limit) +
                            (total > limit ? ": DOES NOT FIT" : ", " + percent(total / limit)));
}

std::string link_text(const LinkBytes& link) {
  return bytes(link.bytes) +
         (link.bytes > 0 ? ", " + percent(link.apart) + " of it between nodes" : "");
}

std::string over_link(double sent, double bandwidth) {
  return bytes(sent) +
         (sent > 0 ? " (" + time_text(sent / bandwidth) + " at " + human_bytes(bandwidth) + "/s)"
                   : "");
}

void traffic_section(Table& table, const PlannedTraffic& traffic,
                     const config::ClusterConfig& cluster) {
  table.section("sent per step, by all ranks together");
  table.row("dispatch and combine",
            link_text(traffic.rows) +
                (traffic.determined ? "" : "; at most " + bytes(traffic.rows_bound)));
  table.row("their metadata", link_text(traffic.metadata));
  table.row("between stages", link_text(traffic.pipeline));
  table.row("sums of gradients", link_text(traffic.gradients));
  table.row("gathered weights", link_text(traffic.weights));
  const RankBytes one = bytes_of_a_rank(traffic, cluster.ranks());
  table.row("by one, over its links",
            over_link(one.within_nodes, cluster.intra_node.bandwidth) + " within its node, " +
                over_link(one.between_nodes, cluster.inter_node.bandwidth) + " to others");
}

bool trains_all(const config::RunConfig& config) {
  return config.finetune.method == config::FinetuneMethod::kFull && config.finetune.freeze.empty();
}

void time_section(Table& table, const StepPlan& plan) {
  const PlannedSeconds& s = plan.seconds;
  const auto part = [&](double seconds) {
    return time_text(seconds) + ", " + percent(seconds / s.total());
  };
  table.section("step");
  table.row("compute", part(s.compute));
  table.row("exchange that nothing hides", part(s.exchange));
  table.row("bubble", part(s.bubble) + (plan.topology.stages > 1
                                            ? "; " + percent(plan.bubble_share) + " of the pipeline"
                                            : ""));
  table.row("sums of gradients", part(s.gradients));
  table.row("optimizer", part(s.optimizer));
  table.row("gathered weights", part(s.weights));
  table.row("together", time_text(s.total()) +
                            (trains_all(plan.config) ? "" : ", if all weights were trained"));
}

void outcome_section(Table& table, const StepPlan& plan, const config::ClusterConfig& cluster) {
  table.section("outcome");
  const double per_rank = plan.tokens_per_second / static_cast<double>(cluster.ranks());
  table.row("tokens/s",
            human_count(plan.tokens_per_second) + ", " + fixed(per_rank, 1) + " a rank");
  table.row("MFU", percent(plan.mfu) + " of the peak, attention over the causal half");
  table.row("a trillion tokens", human_count(plan.hours_per_trillion_tokens) +
                                     " hours of one rank, " +
                                     human_duration(1e12 / plan.tokens_per_second) + " on all");
}

Json link_json(const LinkBytes& link) {
  return {{"bytes", link.bytes},
          {"within_nodes", link.within_nodes()},
          {"between_nodes", link.between_nodes()}};
}

Json layout_json(const StepPlan& plan) {
  const config::ParallelConfig& parallel = plan.config.parallel;
  return {{"ranks", plan.topology.world},
          {"pipeline", plan.topology.stages},
          {"expert", plan.topology.expert_size},
          {"replicas", plan.topology.replicas()},
          {"ranks_per_node", parallel.ranks_per_node},
          {"zero", parallel.zero},
          {"schedule", parallel.schedule},
          {"chunks", parallel.chunks},
          {"put_off", parallel.put_off},
          {"recompute", plan.config.run.recompute},
          {"micro_sequences", plan.config.batch.micro_sequences},
          {"micro_batches", plan.micro_batches}};
}

}  // namespace

std::string layout_words(const StepPlan& plan) {
  const config::ParallelConfig& parallel = plan.config.parallel;
  std::string text;
  if (plan.topology.stages > 1) {
    text += "pipeline " + std::to_string(plan.topology.stages) + " (" + parallel.schedule;
    if (parallel.chunks > 1) text += " of " + std::to_string(parallel.chunks);
    if (parallel.schedule == "zb_h1" && parallel.put_off < 1)
      text += ", " + percent(parallel.put_off) + " put off";
    text += ") x ";
  }
  text += "expert " + std::to_string(plan.topology.expert_size);
  if (plan.topology.experts_span_nodes()) {
    text += " (by nodes of " + std::to_string(parallel.ranks_per_node) + ")";
  }
  text += " x replicas " + std::to_string(plan.topology.replicas());
  if (parallel.zero == 1 && plan.topology.data_size() > 1) text += ", ZeRO-1";
  std::string again;
  for (const std::string& name : plan.config.run.recompute)
    again += (again.empty() ? "" : "+") + name;
  if (!again.empty()) text += ", recompute " + again;
  return text + ", " + std::to_string(plan.micro_batches) + " micro-batches of " +
         std::to_string(plan.config.batch.micro_sequences);
}

std::string plan_text(const StepPlan& plan, const config::ClusterConfig& cluster) {
  Table table;
  table.section("layout");
  table.row("cluster", std::to_string(cluster.nodes) + " x " +
                           std::to_string(cluster.ranks_per_node) + " ranks");
  table.row("ranks", layout_words(plan));
  memory_section(table, plan.memory, cluster.memory.bytes);
  traffic_section(table, plan.traffic, cluster);
  time_section(table, plan);
  outcome_section(table, plan, cluster);
  return table.text();
}

std::string ranking_text(const PlanRanking& ranking) {
  std::string text = "best of " + with_separators(ranking.fitting) + " layouts that fit\n";
  text += "    tokens/s    MFU   memory  bubble  layout\n";
  for (const StepPlan& plan : ranking.best) {
    text += pad_left(human_count(plan.tokens_per_second), 12) + pad_left(percent(plan.mfu), 8) +
            pad_left(bytes(plan.memory.total()), 10) + pad_left(percent(plan.bubble_share), 8) +
            "  " + layout_words(plan) + "\n";
  }
  if (ranking.rejected.empty()) return text;
  text += "\n" + with_separators(ranking.tried - ranking.fitting) +
          " others do not; of each reason the closest\n";
  for (const Rejection& one : ranking.rejected) {
    text += pad_left(with_separators(one.count), 8) + "  " + one.reason + "\n";
  }
  return text;
}

Json ranking_json(const PlanRanking& ranking) {
  Json best = Json::array(), rejected = Json::array();
  for (const StepPlan& plan : ranking.best) best.push_back(plan_json(plan));
  for (const Rejection& one : ranking.rejected) {
    rejected.push_back({{"reason", one.reason}, {"count", one.count}});
  }
  return {{"tried", ranking.tried},
          {"fitting", ranking.fitting},
          {"best", best},
          {"rejected", rejected}};
}

Json plan_json(const StepPlan& plan) {
  const PlannedTraffic& traffic = plan.traffic;
  const RankBytes one = bytes_of_a_rank(traffic, plan.topology.world);
  const PlannedSeconds& s = plan.seconds;
  return {
      {"layout", layout_json(plan)},
      {"memory", memory_json(plan.memory)},
      {"traffic",
       {{"rows", link_json(traffic.rows)},
        {"rows_bound", traffic.rows_bound},
        {"determined", traffic.determined},
        {"metadata", link_json(traffic.metadata)},
        {"pipeline", link_json(traffic.pipeline)},
        {"gradients", link_json(traffic.gradients)},
        {"weights", link_json(traffic.weights)},
        {"per_rank", {{"within_nodes", one.within_nodes}, {"between_nodes", one.between_nodes}}}}},
      {"seconds",
       {{"compute", s.compute},
        {"exchange", s.exchange},
        {"bubble", s.bubble},
        {"gradients", s.gradients},
        {"optimizer", s.optimizer},
        {"weights", s.weights},
        {"total", s.total()}}},
      {"bubble", plan.bubble_share},
      {"tokens_per_second", plan.tokens_per_second},
      {"mfu", plan.mfu},
      {"hours_per_trillion_tokens", plan.hours_per_trillion_tokens}};
}

}  // namespace dsmoe::train
