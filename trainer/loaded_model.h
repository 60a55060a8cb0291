#pragma once

#include <memory>
#include <string>

#include "data/tokenizer.h"
#include "trainer/command.h"
#include "trainer/session.h"

namespace dsmoe::train {

/// A model directory opened for use outside training: one expert group over all ranks.
struct LoadedModel {
  std::unique_ptr<Session> session;
  std::unique_ptr<data::Tokenizer> tokenizer;
  std::string directory;
  /// Tokens per window that the model is used with: what it was trained with where its step
  /// directory tells, else its positions, 4,096 at most.
  int64_t window = 0;
};

/// `directory`: a Hugging Face or step directory. Collective; throws UserError on every rank.
[[nodiscard]] LoadedModel open_model(const std::string& directory, CommandContext& context);

}  // namespace dsmoe::train
