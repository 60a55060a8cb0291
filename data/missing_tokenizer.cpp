#include "data/missing_tokenizer.h"

#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {

MissingTokenizer::MissingTokenizer(std::string directory, int64_t vocab_size, int64_t bos,
                                   int64_t eos)
    : directory_(std::move(directory)), vocab_size_(vocab_size), bos_(bos), eos_(eos) {}

void MissingTokenizer::refuse() const {
  throw DataError(directory_ +
                  ": has no tokenizer.json, so text cannot be read\nhint: copy the model's "
                  "tokenizer.json there, or give tokens: --token-ids, a .bin/.idx prefix");
}

std::vector<int64_t> MissingTokenizer::encode(std::string_view /*text*/) const { refuse(); }

std::string MissingTokenizer::decode(const std::vector<int64_t>& /*ids*/) const { return ""; }

std::string MissingTokenizer::to_json() const { refuse(); }

}  // namespace dsmoe::data
