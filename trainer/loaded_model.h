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

/// How a model directory is opened; the fields are the options of a verb.
struct OpenOptions {
  std::string model;               ///< a Hugging Face, step or adapter directory
  std::string base;                ///< of an adapter; empty: where it says itself
  std::string precision = "fp32";  ///< fp32, bf16 or fp64, whatever the files hold
  bool gradients = false;          ///< room for them, too

  /// `--model`, `--base` and `--precision`, and behind them those of the verb.
  [[nodiscard]] std::vector<Argument> arguments(const std::vector<Argument>& others);
};

/// Collective; throws UserError on every rank.
[[nodiscard]] LoadedModel open_model(const OpenOptions& options, CommandContext& context);

}  // namespace dsmoe::train
