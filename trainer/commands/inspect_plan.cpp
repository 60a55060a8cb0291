#include "trainer/commands/inspect_plan.h"

#include "trainer/commands/plan_report.h"

namespace dsmoe::train {
namespace {

config::ClusterConfig cluster_of(const PlanQuestion& question) {
  const config::ClusterConfig cluster = config::read_cluster(question.cluster);
  return question.nodes > 0 ? config::with_nodes(cluster, question.nodes, question.cluster)
                            : cluster;
}

nlohmann::ordered_json whole_json(const StepPlan& own, const PlanRanking& ranking) {
  nlohmann::ordered_json json = plan_json(own);
  json["ranking"] = ranking_json(ranking);
  return json;
}

}  // namespace

std::string inspect_plan(const config::RunConfig& config, const PlanQuestion& question, bool json) {
  const config::ClusterConfig cluster = cluster_of(question);
  const Planner planner(config, cluster);
  const StepPlan own = planner.plan(config);
  const PlanRanking ranking = rank_layouts(config, planner, question.layouts);
  return json ? whole_json(own, ranking).dump(2) + "\n"
              : plan_text(own, cluster) + "\n\n" + ranking_text(ranking);
}

}  // namespace dsmoe::train
