#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dsmoe::config {

enum class FinetuneMethod { kFull, kLora, kEsft };
enum class ExpertScore { kToken, kGate };

/// Low-rank adapters beside frozen weights: W x + alpha / rank * B A x (arXiv 2106.09685).
struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16.0;
  double dropout = 0.0;
  std::vector<std::string> target{"attention", "dense", "shared_experts", "routed_experts"};
  std::string init_from;  ///< an adapter to begin from; empty: new ones

  bool operator==(const LoraConfig&) const = default;
};

/// Expert-specialised fine-tuning: only the experts that the task uses are trained
/// (arXiv 2407.01906).
struct EsftConfig {
  ExpertScore score = ExpertScore::kToken;
  double top_p = 0.2;
  int64_t sample_tokens = 131072;
  std::string experts;  ///< a file of `--score-only`; empty: scored at the start
  bool train_shared_experts = false;
  bool train_rest = false;

  bool operator==(const EsftConfig&) const = default;
};

/// finetune: which weights a run trains, and how. Without it: all of them.
struct FinetuneConfig {
  FinetuneMethod method = FinetuneMethod::kFull;
  std::vector<std::string> freeze;
  std::vector<std::pair<std::string, double>> lr_multipliers;
  LoraConfig lora;
  EsftConfig esft;

  bool operator==(const FinetuneConfig&) const = default;
};

}  // namespace dsmoe::config
