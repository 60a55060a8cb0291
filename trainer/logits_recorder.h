#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/token_batch.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/communicator.h"

namespace dsmoe::train {

/// Keeps the router logits of some steps, for `dsmoe route`: one file a step and MoE layer,
/// `directory`/step-NNNNNNNN-layer-L.safetensors with `logits` [sequences, tokens, experts],
/// `sequences` (their global numbers, ascending) and, where the router has one, the `bias` that it
/// chose with.
class LogitsRecorder {
 public:
  /// every: steps; 0: none.
  LogitsRecorder(std::string directory, int64_t every)
      : directory_(std::move(directory)), every_(every) {}

  [[nodiscard]] bool due(int64_t step) const { return every_ > 0 && step % every_ == 0; }

  /// Adds a micro-batch of this rank.
  void add(const nn::ModelOutput& output, const data::TokenBatch& batch);
  /// Brings the ranks' rows to rank 0, which writes them, and forgets them. Call before the biases
  /// move. Collective over world. Throws as throw_file_error, on every rank.
  void write(int64_t step, const nn::ParameterStore& store, parallel::Communicator& world);

 private:
  std::string directory_;
  int64_t every_;
  std::vector<int64_t> sequences_;
  std::vector<int64_t> layers_;
  std::vector<std::vector<at::Tensor>> logits_;  ///< per layer, of each micro-batch [B, T, E]
};

}  // namespace dsmoe::train
