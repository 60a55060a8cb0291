#include "trainer/check_run.h"

#include <string>

#include "configs/errors.h"
#include "configs/validate.h"
#include "trainer/schedule.h"
#include "trainer/trained_weights.h"

namespace dsmoe::train {
namespace {

void check_stages_reach_end(const config::RunConfig& config) {
  const auto& stages = config.data.stages;
  if (stages.empty() || stages.back().tokens == 0) return;
  int64_t tokens = 0;
  for (const config::DataStage& stage : stages) tokens += stage.tokens;
  if (tokens >= total_tokens(config)) return;
  throw ConfigError("data.stages: " + std::to_string(tokens) + " tokens in all, the run has " +
                    std::to_string(total_tokens(config)) +
                    "\nhint: leave out `tokens` of the last stage: it then goes on to the end");
}

}  // namespace

void check_run(const config::RunConfig& config, int64_t world) {
  config::check_training(config);
  config::check_layout(config, world);
  check_stages_reach_end(config);
  (void)training_rate(config);
}

}  // namespace dsmoe::train
