#include "data/tokenizer.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/errors.h"
#include "data/bpe_tokenizer.h"
#include "data/byte_tokenizer.h"

namespace dsmoe::data {
namespace {

/// What ByteTokenizer writes, whatever its layout.
bool is_byte_tokenizer(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json == nlohmann::json::parse(ByteTokenizer().to_json());
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "byte") {
    return std::make_unique<ByteTokenizer>();
  }
  if (!std::filesystem::exists(name)) {
    throw ConfigError("data.tokenizer (" + name +
                      ") is neither `byte` nor a path that exists (looked from " +
                      std::filesystem::current_path().string() +
                      ")\nhint: write `byte`, or a tokenizer.json, or a folder that holds one; "
                      "scripts/train-tokenizer makes them");
  }
  TokenizerFiles files = load_tokenizer_files(name);
  if (is_byte_tokenizer(files.json)) {
    return std::make_unique<ByteTokenizer>();
  }
  return std::make_unique<BpeTokenizer>(std::move(files));
}

}  // namespace dsmoe::data
