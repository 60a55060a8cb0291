#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "modules/model.h"
#include "parallel/communicator.h"

namespace dsmoe::train {

/// A question with answers to choose from.
struct ChoiceQuestion {
  std::string question;
  std::vector<std::string> choices;
  int64_t answer = 0;  ///< index of the right one
};

/// One question a line: {"question": "...", "choices": ["...", ...], "answer": index or letter}.
/// Throws DataError naming file:line.
[[nodiscard]] std::vector<ChoiceQuestion> read_choices(const std::string& path);

struct ChoiceReport {
  int64_t questions = 0;
  double accuracy = 0;             ///< the choice of the highest likelihood
  double accuracy_normalized = 0;  ///< of the highest likelihood per byte of the choice
  std::vector<int64_t> answers;    ///< by likelihood per byte, the lower index on ties
};

/// Scores each choice by the likelihood of its tokens behind BOS and the question and a blank, as
/// MMLU-style tasks are scored. Questions are dealt out over the ranks. Throws DataError where one
/// is longer than the model's positions. Collective over world, the model's expert group.
[[nodiscard]] ChoiceReport score_choices(nn::Model& model, const data::Tokenizer& tokenizer,
                                         const std::vector<ChoiceQuestion>& questions,
                                         parallel::Communicator& world);

}  // namespace dsmoe::train
