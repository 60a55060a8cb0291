#include "data/bpe_tokenizer.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "data/byte_alphabet.h"
#include "data/utf8.h"
#include "data/word_cache.h"

namespace dsmoe::data {
namespace {

/// What each id decodes to; nothing for special tokens.
std::vector<std::string> decoded(const BpeModel& model) {
  const ByteAlphabet alphabet;
  std::vector<std::string> bytes;
  bytes.reserve(model.tokens.size());
  for (const std::string& token : model.tokens) {
    bytes.push_back(alphabet.bytes(token).value_or(token));
  }
  for (const AddedToken& token : model.added) {
    if (token.special) bytes[static_cast<size_t>(token.id)].clear();
  }
  return bytes;
}

/// Tokens of the model's own by the bytes that they stand for, for `ignore_merges`.
std::unordered_map<std::string, uint32_t> whole_words(const BpeModel& model) {
  const ByteAlphabet alphabet;
  std::unordered_map<std::string, uint32_t> words;
  for (uint32_t id = 0; model.ignore_merges && id < model.num_model_tokens; ++id) {
    if (auto bytes = alphabet.bytes(model.tokens[id])) words.emplace(std::move(*bytes), id);
  }
  return words;
}

std::string made_config(const TokenizerSpec& spec) {
  const auto name = [&](int64_t id) { return spec.model.tokens[static_cast<size_t>(id)]; };
  nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (spec.bos >= 0) config["bos_token"] = name(spec.bos);
  config["eos_token"] = name(spec.eos);
  config["clean_up_tokenization_spaces"] = false;
  return config.dump(2) + "\n";
}

}  // namespace

struct BpeTokenizer::Tables {
  explicit Tables(const TokenizerSpec& spec)
      : added(spec.model.added),
        pretokenizer(spec.pretokenizer),
        merger(spec.model.byte_tokens, spec.model.merges),
        words(whole_words(spec.model)),
        bytes(decoded(spec.model)),
        bos(spec.bos),
        eos(spec.eos) {}

  AddedTokens added;
  Pretokenizer pretokenizer;
  BpeMerger merger;
  std::unordered_map<std::string, uint32_t> words;
  std::vector<std::string> bytes;
  int64_t bos;
  int64_t eos;
};

struct BpeTokenizer::Scratch {
  std::vector<AddedTokens::Part> parts;
  Pretokenizer::Scratch words;
  BpeMerger::Scratch merger;
  WordCache cache;
  std::vector<uint32_t> tokens;  ///< of one word
};

/// A Scratch for the time of one encode().
class BpeTokenizer::Lease {
 public:
  explicit Lease(const BpeTokenizer& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (!owner_.idle_.empty()) {
      scratch_ = std::move(owner_.idle_.back());
      owner_.idle_.pop_back();
    }
  }
  ~Lease() {
    if (!scratch_) return;
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Scratch& scratch() {
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
    return *scratch_;
  }

 private:
  const BpeTokenizer& owner_;
  std::unique_ptr<Scratch> scratch_;
};

BpeTokenizer::BpeTokenizer(TokenizerFiles files) : files_(std::move(files)) {
  const TokenizerSpec spec = read_tokenizer(files_);
  if (!files_.config) files_.config = made_config(spec);
  tables_ = std::make_unique<const Tables>(spec);
}

BpeTokenizer::~BpeTokenizer() = default;

std::vector<int64_t> BpeTokenizer::encode(std::string_view text) const {
  std::string repaired;
  if (valid_utf8_prefix(text) != text.size()) {
    repaired = to_utf8(text);
    text = repaired;
  }
  Lease lease(*this);
  Scratch& scratch = lease.scratch();
  tables_->added.cut(text, scratch.parts);
  std::vector<int64_t> ids;
  ids.reserve(text.size() / 3);
  for (const AddedTokens::Part& part : scratch.parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_words(part.text, scratch, ids);
    }
  }
  return ids;
}

void BpeTokenizer::encode_words(std::string_view text, Scratch& scratch,
                                std::vector<int64_t>& ids) const {
  tables_->pretokenizer.split(text, scratch.words);
  for (size_t i = 0; i < scratch.words.pieces.size(); ++i) {
    const std::string_view word = Pretokenizer::word(text, i, scratch.words);
    const bool is_short = word.size() <= WordCache::kMaxBytes;
    const uint64_t hash = is_short ? WordCache::hash(word) : 0;
    if (is_short) {
      const auto known = scratch.cache.find(word, hash);
      if (!known.empty()) {
        ids.insert(ids.end(), known.begin(), known.end());
        continue;
      }
    }
    encode_word(word, scratch);
    ids.insert(ids.end(), scratch.tokens.begin(), scratch.tokens.end());
    if (is_short) scratch.cache.keep(word, hash, scratch.tokens);
  }
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch) const {
  scratch.tokens.clear();
  if (!tables_->words.empty()) {
    const auto found = tables_->words.find(std::string(word));
    if (found != tables_->words.end()) {
      scratch.tokens.push_back(found->second);
      return;
    }
  }
  tables_->merger.merge(word, scratch.merger, scratch.tokens);
}

std::string BpeTokenizer::decode(const std::vector<int64_t>& ids) const {
  std::string bytes;
  for (const int64_t id : ids) {
    if (id >= 0 && id < vocab_size()) bytes += tables_->bytes[static_cast<size_t>(id)];
  }
  return bytes;
}

int64_t BpeTokenizer::vocab_size() const { return static_cast<int64_t>(tables_->bytes.size()); }
int64_t BpeTokenizer::bos() const { return tables_->bos; }
int64_t BpeTokenizer::eos() const { return tables_->eos; }
std::string BpeTokenizer::to_json() const { return files_.json; }
std::string BpeTokenizer::config_json() const { return *files_.config; }

}  // namespace dsmoe::data
