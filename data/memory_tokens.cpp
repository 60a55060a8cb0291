#include "data/memory_tokens.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <type_traits>

namespace dsmoe::data {

MemoryTokens::MemoryTokens(int64_t vocab_size) {
  if (vocab_size > int64_t{1} << 16) {
    tokens_ = std::vector<uint32_t>();
  }
}

void MemoryTokens::add(const int64_t* ids, size_t count) {
  std::visit(
      [&](auto& tokens) {
        using Token = typename std::decay_t<decltype(tokens)>::value_type;
        std::transform(ids, ids + count, std::back_inserter(tokens),
                       [](int64_t id) { return static_cast<Token>(id); });
      },
      tokens_);
}

void MemoryTokens::append(int64_t first, const std::vector<int64_t>& ids, int64_t last) {
  add(&first, 1);
  add(ids.data(), ids.size());
  add(&last, 1);
  starts_.push_back(starts_.back() + static_cast<int64_t>(ids.size()) + 2);
}

void MemoryTokens::append(const std::vector<int64_t>& ids) {
  add(ids.data(), ids.size());
  starts_.push_back(starts_.back() + static_cast<int64_t>(ids.size()));
}

int64_t MemoryTokens::bytes_per_token() const {
  return std::holds_alternative<std::vector<uint16_t>>(tokens_) ? 2 : 4;
}

void MemoryTokens::copy(int64_t position, int64_t count, int64_t* out) const {
  std::visit([&](const auto& tokens) { std::copy_n(tokens.begin() + position, count, out); },
             tokens_);
}

void MemoryTokens::add_to(Fingerprint& hash) const {
  hash.add(std::as_bytes(std::span(starts_)));
  std::visit([&](const auto& tokens) { hash.add(std::as_bytes(std::span(tokens))); }, tokens_);
}

}  // namespace dsmoe::data
