#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "configs/cluster_config.h"
#include "trainer/plan_search.h"

namespace dsmoe::train {

/// One layout and what is expected of it, as a table.
[[nodiscard]] std::string plan_text(const StepPlan& plan, const config::ClusterConfig& cluster);

/// {"layout", "memory", "traffic", "seconds", "bubble", "tokens_per_second", "mfu",
/// "hours_per_trillion_tokens"}.
[[nodiscard]] nlohmann::ordered_json plan_json(const StepPlan& plan);

/// The best layouts, one a line, and why others do not fit.
[[nodiscard]] std::string ranking_text(const PlanRanking& ranking);

/// {"tried", "fitting", "best": [as plan_json()], "rejected": [{"reason", "count"}]}.
[[nodiscard]] nlohmann::ordered_json ranking_json(const PlanRanking& ranking);

/// A layout in a few words: pipeline 16 (zb_h1) x expert 8 x replicas 8, ZeRO-1, micro 1.
[[nodiscard]] std::string layout_words(const StepPlan& plan);

}  // namespace dsmoe::train
