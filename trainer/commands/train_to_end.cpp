#include "trainer/commands/train_to_end.h"

#include <cstdio>

#include "trainer/esft.h"
#include "trainer/stop_signal.h"
#include "trainer/train_run.h"

namespace dsmoe::train {

int train_to_end(const config::RunConfig& config, bool json, CommandContext& context) {
  catch_stop_signals();
  TrainRun run(settle_experts(config, context), context);
  const int code = run.run();
  if (json && context.first()) std::fputs(run.outcome().c_str(), stdout);
  return code;
}

}  // namespace dsmoe::train
