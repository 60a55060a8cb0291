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
};

/// `directory`: a Hugging Face or step directory. Collective; throws UserError on every rank.
[[nodiscard]] LoadedModel open_model(const std::string& directory, CommandContext& context);

}  // namespace dsmoe::train
