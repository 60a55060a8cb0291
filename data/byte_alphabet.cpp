#include "data/byte_alphabet.h"

#include "data/utf8.h"

namespace dsmoe::data {
namespace {

bool shows_as_itself(char32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

}  // namespace

ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  char32_t next_free = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    characters_[byte] = shows_as_itself(byte) ? byte : next_free++;
    bytes_[characters_[byte]] = static_cast<int16_t>(byte);
  }
}

std::string ByteAlphabet::character(uint8_t byte) const {
  std::string text;
  append_utf8(text, characters_[byte]);
  return text;
}

std::optional<std::string> ByteAlphabet::bytes(std::string_view token) const {
  std::string result;
  for (size_t position = 0; position < token.size();) {
    const char32_t character = next_code_point(token, position);
    if (character >= bytes_.size() || bytes_[character] < 0) {
      return std::nullopt;
    }
    result.push_back(static_cast<char>(bytes_[character]));
  }
  return result;
}

}  // namespace dsmoe::data
