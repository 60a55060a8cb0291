#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/finetune_config.h"
#include "configs/model_config.h"

namespace dsmoe::config {

/// The experts of one layer that expert-specialised fine-tuning trains.
struct LayerChoice {
  std::vector<int64_t> train;  ///< of highest score first
  double reached = 0;          ///< the sum of their scores
  std::vector<double> scores;  ///< by expert
};

/// A scored and chosen set of experts, as `finetune --score-only` writes it and a run takes it.
struct ExpertChoice {
  ExpertScore score = ExpertScore::kToken;
  double top_p = 0;
  int64_t tokens = 0;  ///< that were scored
  std::string model;   ///< whose experts they are
  std::map<int64_t, LayerChoice> layers;

  /// Whether an expert is trained.
  [[nodiscard]] bool trains(int64_t layer, int64_t expert) const;
};

/// The fewest experts of highest score, ties to the lower id, that reach top_p (ESFT section 3.3,
/// with scores rounded to four decimals as in its published choices).
[[nodiscard]] LayerChoice choose_experts(std::vector<double> scores, double top_p);

/// YAML, for people to read and edit.
[[nodiscard]] std::string write_expert_choice(const ExpertChoice& choice);

/// Reads such a file; only what stands under `train` counts. Throws ConfigError naming file and
/// line on unknown keys, layers without routed experts, experts that are none, and where no expert
/// is left to train.
[[nodiscard]] ExpertChoice read_expert_choice(const std::string& path, const ModelConfig& model);

}  // namespace dsmoe::config
