#include "trainer/check_tokenizer.h"

#include <string>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

void check_id(const char* key, int64_t model, int64_t tokenizer) {
  if (tokenizer < 0 || model == tokenizer) return;
  throw ConfigError(std::string(key) + " (" + std::to_string(model) +
                    ") must be the tokenizer's, " + std::to_string(tokenizer) + "\nhint: " + key +
                    "=" + std::to_string(tokenizer));
}

}  // namespace

void check_vocabulary(const data::Tokenizer& tokenizer, const config::ModelConfig& model) {
  if (tokenizer.vocab_size() <= model.vocab_size) return;
  throw ConfigError("model.vocab_size (" + std::to_string(model.vocab_size) +
                    ") must be at least the tokenizer's " + std::to_string(tokenizer.vocab_size()) +
                    " ids\nhint: raise model.vocab_size, or give the tokenizer that the model "
                    "was trained with");
}

void check_tokenizer(const data::Tokenizer& tokenizer, const config::ModelConfig& model) {
  check_vocabulary(tokenizer, model);
  check_id("model.bos_token_id", model.bos_token_id, tokenizer.bos());
  check_id("model.eos_token_id", model.eos_token_id, tokenizer.eos());
}

void check_same_tokenizer(const data::Tokenizer& tokenizer, const std::string& name,
                          const data::Tokenizer& of_weights, const std::string& directory) {
  const auto refuse = [&](const std::string& difference) {
    throw ConfigError("data.tokenizer (" + name + ") is not the one that model.init_from (" +
                      directory + ") was trained with: " + difference +
                      "\nhint: leave data.tokenizer out of a fine-tuning's YAML: it is then the "
                      "directory's own");
  };
  if (tokenizer.vocab_size() != of_weights.vocab_size()) {
    refuse(std::to_string(tokenizer.vocab_size()) + " ids, there " +
           std::to_string(of_weights.vocab_size()));
  }
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.decode({id}) != of_weights.decode({id})) {
      refuse("id " + std::to_string(id) + " is another text");
    }
  }
}

}  // namespace dsmoe::train
