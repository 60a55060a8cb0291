#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsmoe::data {

/// Text to token ids and back.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  [[nodiscard]] virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  /// Bytes of the ids, special tokens left out.
  [[nodiscard]] virtual std::string decode(const std::vector<int64_t>& ids) const = 0;
  [[nodiscard]] virtual int64_t vocab_size() const = 0;
  /// -1: the tokenizer has none.
  [[nodiscard]] virtual int64_t bos() const = 0;
  [[nodiscard]] virtual int64_t eos() const = 0;
  /// The content of the `tokenizer.json` that Hugging Face reads as the same tokenizer.
  [[nodiscard]] virtual std::string to_json() const = 0;
  /// The content of the `tokenizer_config.json` beside it: class and names of the special tokens.
  [[nodiscard]] virtual std::string config_json() const = 0;
};

/// `byte` (id = byte, 256 BOS, 257 EOS, 258 PAD), or the path of a `tokenizer.json`, or of a folder
/// that holds one, with its `tokenizer_config.json` beside it. The file that the byte tokenizer
/// writes gives the byte tokenizer. Throws ConfigError on any other name, DataError on a file that
/// cannot be read or that asks for what is not supported.
[[nodiscard]] std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace dsmoe::data
