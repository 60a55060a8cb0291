#include "data/token_type.h"

#include <c10/util/Exception.h>

#include <cstring>
#include <utility>

namespace dsmoe::data {

void append_tokens(std::span<const int64_t> ids, TokenType type, std::vector<std::byte>& bytes) {
  with_token_type(type, [&](auto zero) {
    using Token = decltype(zero);
    size_t at = bytes.size();
    bytes.resize(at + ids.size() * sizeof(Token));
    for (const int64_t id : ids) {
      TORCH_CHECK(std::in_range<Token>(id), "token ", id, " is no ", name_of(type));
      const auto token = static_cast<Token>(id);
      std::memcpy(bytes.data() + at, &token, sizeof(Token));
      at += sizeof(Token);
    }
  });
}

}  // namespace dsmoe::data
