#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dsmoe::data {

/// How a `.bin` stores a token; the numbers are Megatron's type codes. Its codes 6 and 7, float64
/// and float32, are no tokens and have no name here.
enum class TokenType : uint8_t { kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kU16 = 8 };

/// Megatron's choice: two bytes for a vocabulary below 65,500, else int32.
[[nodiscard]] inline TokenType token_type_for(int64_t vocab_size) {
  return vocab_size < 65500 ? TokenType::kU16 : TokenType::kI32;
}

/// Calls `call` with a zero of the type that `type` names, and returns what it returns.
template <typename Call>
auto with_token_type(TokenType type, const Call& call) {
  switch (type) {
    case TokenType::kU8:
      return call(uint8_t{0});
    case TokenType::kI8:
      return call(int8_t{0});
    case TokenType::kI16:
      return call(int16_t{0});
    case TokenType::kU16:
      return call(uint16_t{0});
    case TokenType::kI32:
      return call(int32_t{0});
    default:
      return call(int64_t{0});
  }
}

/// Bytes of a token.
[[nodiscard]] inline int64_t size_of(TokenType type) {
  return with_token_type(type, [](auto zero) { return static_cast<int64_t>(sizeof(zero)); });
}

/// As numpy calls it: uint16.
[[nodiscard]] inline std::string name_of(TokenType type) {
  const bool is_unsigned = type == TokenType::kU8 || type == TokenType::kU16;
  return (is_unsigned ? "uint" : "int") + std::to_string(8 * size_of(type));
}

/// Appends `ids` to `bytes` as a .bin holds them. Throws c10::Error for an id that `type` cannot
/// hold.
void append_tokens(std::span<const int64_t> ids, TokenType type, std::vector<std::byte>& bytes);

}  // namespace dsmoe::data
