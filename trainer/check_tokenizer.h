#pragma once

#include "configs/model_config.h"
#include "data/tokenizer.h"

namespace dsmoe::train {

/// Throws ConfigError where a tokenizer has ids that the model has no rows for.
void check_vocabulary(const data::Tokenizer& tokenizer, const config::ModelConfig& model);

/// For training, also where BOS or EOS are other ids than the model's config.json will say.
void check_tokenizer(const data::Tokenizer& tokenizer, const config::ModelConfig& model);

/// Throws ConfigError unless every id means the same to both: `name` is data.tokenizer's, and
/// `directory` holds the tokenizer of the weights that a run begins from.
void check_same_tokenizer(const data::Tokenizer& tokenizer, const std::string& name,
                          const data::Tokenizer& of_weights, const std::string& directory);

}  // namespace dsmoe::train
