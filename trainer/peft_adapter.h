#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "trainer/safetensors.h"

namespace dsmoe::train {

inline constexpr const char* kAdapterConfig = "adapter_config.json";
inline constexpr const char* kAdapterFile = "adapter_model.safetensors";
/// Key of the file's metadata under which stands the fingerprint of the weights it belongs to.
inline constexpr const char* kBaseFingerprint = "base_fingerprint";

/// The directory that holds an adapter: `directory` or its adapter/; nothing where neither does.
[[nodiscard]] std::optional<std::string> find_adapter(const std::string& directory);

/// A LoRA adapter in peft's format, of one made here or by peft 0.19 and later for a DeepSeek-V2 or
/// V3 model of transformers 5.
/// Routed experts stand stacked there: A [E R, I], expert-major; B [O, R E], expert-minor; the
/// outer of two such pairs is that of down_proj, `base_layer` that of gate_up_proj.
class PeftAdapter {
 public:
  /// Throws CheckpointError naming the file and the key where it is no such adapter, or changes the
  /// function in a way that is not known here.
  [[nodiscard]] static PeftAdapter open(const std::string& directory);

  [[nodiscard]] const std::string& directory() const { return directory_; }
  /// base_model_name_or_path; empty: not told.
  [[nodiscard]] const std::string& base() const { return base_; }
  /// Of the weights it was trained on; empty: not told.
  [[nodiscard]] std::string base_fingerprint() const;
  [[nodiscard]] int64_t rank() const { return rank_; }
  [[nodiscard]] double scale() const { return scale_; }

  /// What it adds to a published matrix, float64 [out, in]; undefined: nothing.
  [[nodiscard]] at::Tensor delta(const std::string& published_name) const;
  /// One matrix under the name that a ParameterStore has for it; undefined: it is not there.
  [[nodiscard]] at::Tensor matrix(const std::string& stored_name) const;
  /// Modules of the base that it adapts, as peft names them: for messages.
  [[nodiscard]] std::vector<std::string> modules() const;

 private:
  explicit PeftAdapter(SafetensorsFile file) : file_(std::move(file)) {}
  void read_config();
  [[nodiscard]] at::Tensor expert_matrix(const std::string& experts, int64_t expert,
                                         const std::string& stack, bool is_a) const;
  [[nodiscard]] std::string experts_prefix(const std::string& experts,
                                           const std::string& stack) const;
  [[nodiscard]] at::Tensor find(const std::string& name) const;

  SafetensorsFile file_;
  std::string directory_;
  std::string base_;
  std::vector<std::string> target_parameters_;
  int64_t rank_ = 0;
  double scale_ = 0;
};

}  // namespace dsmoe::train
