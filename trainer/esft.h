#pragma once

#include "configs/expert_choice.h"
#include "configs/run_config.h"
#include "trainer/command.h"

namespace dsmoe::train {

/// Runs the first finetune.esft.sample_tokens of the training data through model.init_from and
/// scores each layer's experts: an expert's share of the chosen pairs, or its mean gate weight over
/// all tokens (0 where it is not chosen), before any scaling (ESFT section 3.2). Prompts count,
/// padding does not. The same on any layout. Collective over the world.
[[nodiscard]] config::ExpertChoice score_experts(const config::RunConfig& config,
                                                 CommandContext& context);

/// Where a run leaves and looks for its choice.
[[nodiscard]] std::string expert_choice_file(const config::RunConfig& config);

/// The configuration with finetune.esft.experts settled: as given; else the file of the run that is
/// resumed; else scored now and written there. Other methods: as it is. Collective over the world.
[[nodiscard]] config::RunConfig settle_experts(config::RunConfig config, CommandContext& context);

}  // namespace dsmoe::train
