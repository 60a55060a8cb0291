#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configs/model_config.h"
#include "trainer/peft_adapter.h"

namespace dsmoe::train {

/// The weights that `--model` means, and the adapter that is to be added to them.
struct ModelPlace {
  std::string directory;               ///< with config.json
  std::optional<std::string> adapter;  ///< with adapter_config.json

  /// Where the name itself points: the adapter, if there is one.
  [[nodiscard]] const std::string& named() const { return adapter ? *adapter : directory; }
};

/// `name`: a Hugging Face or step directory, or an adapter's, whose weights are at `base` or else
/// where it says itself. Throws UserError where something is missing.
[[nodiscard]] ModelPlace find_model_place(const std::string& name, const std::string& base);

/// Opens a place's adapter, if it has one, and checks that it belongs to the weights. Throws
/// CheckpointError naming both fingerprints where it does not, and modules that the model lacks.
[[nodiscard]] std::optional<PeftAdapter> open_adapter(const ModelPlace& place,
                                                      const config::ModelConfig& model);

}  // namespace dsmoe::train
