#include "data/corpus.h"

#include <algorithm>
#include <type_traits>

#include "configs/errors.h"
#include "data/documents.h"

namespace dsmoe::data {
namespace {

void require_bos(const Tokenizer& tokenizer, const std::string& path) {
  if (tokenizer.bos() < 0) {
    throw DataError(path + ": documents start with BOS, but none of the tokenizer's " +
                    std::to_string(tokenizer.vocab_size()) +
                    " tokens is BOS\nhint: name a `bos_token` in tokenizer_config.json; it may be "
                    "the EOS");
  }
}

}  // namespace

Corpus::Corpus(int64_t vocab_size) {
  if (vocab_size > int64_t{1} << 16) {
    tokens_ = std::vector<uint32_t>();
  }
}

void Corpus::append(int64_t first, const std::vector<int64_t>& ids, int64_t last) {
  std::visit(
      [&](auto& tokens) {
        using Token = typename std::decay_t<decltype(tokens)>::value_type;
        tokens.push_back(static_cast<Token>(first));
        for (const int64_t id : ids) {
          tokens.push_back(static_cast<Token>(id));
        }
        tokens.push_back(static_cast<Token>(last));
      },
      tokens_);
  starts_.push_back(starts_.back() + static_cast<int64_t>(ids.size()) + 2);
}

void Corpus::copy(int64_t position, int64_t count, int64_t* out) const {
  std::visit([&](const auto& tokens) { std::copy_n(tokens.begin() + position, count, out); },
             tokens_);
}

std::span<const std::byte> Corpus::start_bytes() const { return std::as_bytes(std::span(starts_)); }

std::span<const std::byte> Corpus::token_bytes() const {
  return std::visit(
      [](const auto& tokens) {
        return std::span<const std::byte>(std::as_bytes(std::span(tokens)));
      },
      tokens_);
}

Corpus read_corpus(const std::string& path, const Tokenizer& tokenizer) {
  require_bos(tokenizer, path);
  Corpus corpus(tokenizer.vocab_size());
  read_documents(path, [&](const Document& document) {
    corpus.append(tokenizer.bos(), tokenizer.encode(document.text), tokenizer.eos());
  });
  return corpus;
}

}  // namespace dsmoe::data
