#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/token_batch.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"

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

  /// Adds a micro-batch's pass through layers of this rank.
  void add(const nn::ModelOutput& output, const data::TokenBatch& batch);
  /// Brings the rows to the first rank of each pipeline stage, which writes those of its layers,
  /// and forgets them. Call before the biases move. Collective over world. Throws as
  /// throw_file_error, on every rank.
  void write(int64_t step, const nn::ParameterStore& store, parallel::ProcessGroups& groups);

 private:
  /// One layer's rows here, in the order of the passes.
  struct Layer {
    std::vector<int64_t> sequences;
    std::vector<at::Tensor> logits;  ///< of each micro-batch [B, T, E]
  };

  std::string directory_;
  int64_t every_;
  std::map<int64_t, Layer> layers_;  ///< by number
};

}  // namespace dsmoe::train
