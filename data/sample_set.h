#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/data_config.h"
#include "data/corpus.h"
#include "data/target_weights.h"
#include "data/token_sample.h"

namespace dsmoe::data {

/// Conversations (or documents) as tokens in memory, with what each token counts as a target.
struct SampleSet {
  explicit SampleSet(int64_t vocab_size) : corpus(vocab_size) {}

  void append(const TokenSample& sample);

  Corpus corpus;
  TargetWeights weights{};
  std::vector<std::string> domains{};  ///< of each sample; "": not given
};

/// Some samples: how many, of how many tokens, of which so many are targets.
struct SampleCounts {
  int64_t samples = 0;
  int64_t tokens = 0;
  int64_t targets = 0;
};

/// What became of a source's rows.
struct SampleReport {
  SampleCounts trained;
  SampleCounts held_out;
  SampleCounts cut;                             ///< samples, and what was cut off them
  std::map<std::string, SampleCounts> dropped;  ///< by reason
};

struct SplitSamples {
  SampleSet train;
  SampleSet held_out;
  SampleReport report;
};

/// Reads the rows at source.path (see parse_sample): .jsonl, .json (a list, or a row a line), any
/// other file as one document, or the files of a folder. What a row does not hold, or holds too
/// much of, goes by data.bad_rows and data.overlong; data.held_out is a property of a sample's
/// tokens. Throws DataError naming file and line, and when no target is left to train on.
[[nodiscard]] SplitSamples read_samples(const config::DataSource& source,
                                        const config::DataConfig& config,
                                        const Tokenizer& tokenizer);

/// Whether the first row of the file or folder at `path` is a conversation rather than a document.
[[nodiscard]] bool holds_conversations(const std::string& path);

}  // namespace dsmoe::data
