#include "data/utf8.h"

#include <cstdint>
#include <cstring>

namespace dsmoe::data {
namespace {

uint8_t byte_at(std::string_view bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }

/// What a lead byte asks for: 0 bytes in all for one that leads nothing, and the second's range.
struct Lead {
  size_t length = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return byte < 0xF4 ? Lead{4} : Lead{0};
}

/// The number of ASCII bytes at the start, in steps of eight.
size_t ascii_words(std::string_view bytes) {
  size_t position = 0;
  for (; position + 8 <= bytes.size(); position += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + position, 8);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  return position;
}

}  // namespace

Utf8Step utf8_step(std::string_view bytes) {
  const Lead lead = lead_of(byte_at(bytes, 0));
  if (lead.length == 0) {
    return {Utf8Step::Kind::kInvalid, 1};
  }
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) {
      return {Utf8Step::Kind::kTruncated, i};
    }
    const uint8_t byte = byte_at(bytes, i);
    if (byte < (i == 1 ? lead.low : 0x80) || byte > (i == 1 ? lead.high : 0xBF)) {
      return {Utf8Step::Kind::kInvalid, i};
    }
  }
  return {Utf8Step::Kind::kCharacter, lead.length};
}

size_t valid_utf8_prefix(std::string_view bytes) {
  size_t position = 0;
  while (position < bytes.size()) {
    position += ascii_words(bytes.substr(position));
    if (position == bytes.size()) break;
    const Utf8Step step = utf8_step(bytes.substr(position));
    if (step.kind != Utf8Step::Kind::kCharacter) break;
    position += step.length;
  }
  return position;
}

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t valid = valid_utf8_prefix(bytes);
    text.append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (!bytes.empty()) {
      text.append(kReplacement);
      bytes.remove_prefix(utf8_step(bytes).length);
    }
  }
  return text;
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const uint8_t lead = byte_at(text, position++);
  if (lead < 0x80) {
    return lead;
  }
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t code_point = lead & (0x3FU >> more);
  for (int i = 0; i < more; ++i) {
    code_point = (code_point << 6) | (byte_at(text, position++) & 0x3FU);
  }
  return code_point;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  const auto tail = [&](int shift) { put(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    put(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace dsmoe::data
