#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <c10/core/ScalarType.h>

namespace dsmoe::train {

struct ExportOptions {
  std::string from;                      ///< a Hugging Face, step or adapter directory
  std::string base;                      ///< of an adapter; empty: where it says itself
  std::string to;                        ///< must not exist, or be empty
  std::optional<c10::ScalarType> dtype;  ///< float32 or bfloat16; absent: as the files have it
  int64_t max_shard_bytes = 5'000'000'000;
};

struct ExportSummary {
  int64_t tensors = 0;
  int64_t bytes = 0;
  int64_t shards = 0;
};

/// Is told how many of how many bytes are written.
using ExportProgress = std::function<void(int64_t done, int64_t of)>;

/// Rewrites a model directory as one that transformers opens: tensors under the published names,
/// one an expert, in shards with an index; config.json; tokenizer and generation files as they
/// are. A tensor whose dtype stays keeps its bits; a router's correction bias stays float32; wider
/// ones come from the master copies of a step directory that has them. An adapter is merged into
/// the weights that it belongs to, in double precision. A few MiB are in memory at a
/// time. Written aside and renamed as a whole. Local.
/// Throws UserError on directories that do not fit, and on a step directory that does not verify.
ExportSummary export_model(const ExportOptions& options, const ExportProgress& progress = {});

}  // namespace dsmoe::train
