#include "data/corpus.h"

#include "configs/errors.h"

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

void Corpus::append(int64_t first, const std::vector<int64_t>& ids, int64_t last) {
  std::get<MemoryTokens>(tokens_).append(first, ids, last);
}

void Corpus::append(const std::vector<int64_t>& ids) {
  std::get<MemoryTokens>(tokens_).append(ids);
}

int64_t Corpus::num_documents() const {
  return std::visit([](const auto& tokens) { return tokens.num_documents(); }, tokens_);
}

int64_t Corpus::start(int64_t i) const {
  return std::visit([i](const auto& tokens) { return tokens.start(i); }, tokens_);
}

int64_t Corpus::bytes_per_token() const {
  return std::visit([](const auto& tokens) { return tokens.bytes_per_token(); }, tokens_);
}

void Corpus::copy(int64_t position, int64_t count, int64_t* out) const {
  std::visit([&](const auto& tokens) { tokens.copy(position, count, out); }, tokens_);
}

void Corpus::add_to(Fingerprint& hash) const {
  std::visit([&](const auto& tokens) { tokens.add_to(hash); }, tokens_);
}

Corpus read_corpus(const std::string& path, const Tokenizer& tokenizer,
                   const std::function<void(const Document&)>& seen) {
  if (const auto prefix = token_file_prefix(path)) {
    return Corpus(TokenFile(*prefix, tokenizer.vocab_size()));
  }
  require_bos(tokenizer, path);
  Corpus corpus(tokenizer.vocab_size());
  read_documents(path, [&](const Document& document) {
    corpus.append(tokenizer.bos(), tokenizer.encode(document.text), tokenizer.eos());
    if (seen) seen(document);
  });
  return corpus;
}

}  // namespace dsmoe::data
