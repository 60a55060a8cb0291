// Safetensors files, damaged at random: the length and the header are parsed, or rejected with a
// CheckpointError; any other exception, and a header that breaks its promises, ends the program.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "configs/errors.h"
#include "trainer/safetensors_header.h"

/// Of libFuzzer or driver.cpp: damages some of the first `size` bytes, returns the new size.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using dsmoe::train::SafetensorsHeader;
using dsmoe::train::TensorInfo;

constexpr size_t kLength = 8;

void require(bool holds) {
  if (!holds) std::abort();
}

int64_t bits_of(const TensorInfo& info) {
  int64_t bits = dsmoe::train::dtype_bits(info.dtype);
  for (const int64_t size : info.shape) {
    require(size >= 0);
    require(!__builtin_mul_overflow(bits, size, &bits));
  }
  return bits;
}

/// What readers of tensors rely on.
void check(const SafetensorsHeader& header, int64_t data_bytes) {
  int64_t covered = 0;
  for (const auto& [name, info] : header.tensors) {
    require(0 <= info.begin && info.begin <= info.end && info.end <= data_bytes);
    require(bits_of(info) == 8 * (info.end - info.begin));
    covered += info.end - info.begin;
  }
  require(covered == data_bytes);
}

// What the format is made of, and what has broken other readers.
constexpr std::array<std::string_view, 40> kTokens = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\"",
    "\"b\":",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"F32\"",
    "\"U8\"",
    "\"F4\"",
    "\"F6_E2M3\"",
    "\"BOOL\"",
    "\"__metadata__\":{\"k\":\"v\"},",
    "0",
    "1",
    "-1",
    "-0",
    "1.0",
    "1e3",
    "1e999",
    "255",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "null",
    "true",
    "\\u0000",
    "\\ud83d",
    "\\u0061",
    "\xef\xbb\xbf",
    "\xff",
    " ",
    "[0,0]",
    "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"};

/// Puts a token in a place of `text`, or over what stands there.
void put_token(std::string& text, std::minstd_rand& random) {
  const std::string_view token = kTokens[random() % kTokens.size()];
  const size_t place = random() % (text.size() + 1);
  const size_t over = random() % 2 == 0 ? 0 : std::min(token.size(), text.size() - place);
  text.replace(place, over, token);
}

void damage(std::string& text, size_t max_size, std::minstd_rand& random) {
  if (random() % 2 == 0) return put_token(text, random);
  std::vector<uint8_t> bytes(text.begin(), text.end());
  bytes.resize(std::max(max_size, text.size()) + 1);
  bytes.resize(LLVMFuzzerMutate(bytes.data(), text.size(), bytes.size()));
  text.assign(bytes.begin(), bytes.end());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view image(reinterpret_cast<const char*>(data), size);
  const auto file_bytes = static_cast<int64_t>(size);
  try {
    const int64_t length =
        dsmoe::train::safetensors_header_bytes(image.substr(0, kLength), file_bytes, "image");
    const int64_t data_bytes = file_bytes - dsmoe::train::kLengthBytes - length;
    const auto json = image.substr(kLength, static_cast<size_t>(length));
    check(dsmoe::train::parse_safetensors_header(json, data_bytes, "image"), data_bytes);
  } catch (const dsmoe::CheckpointError&) {
    // What damaged files should end in.
  }
  return 0;
}

/// Damages the header, now and then the data, and mostly gives the header's length as it then is:
/// damage to the whole image would hardly ever reach the parser.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  std::minstd_rand random(seed);
  if (size < kLength || random() % 16 == 0) return LLVMFuzzerMutate(data, size, max_size);
  uint64_t length = 0;
  std::memcpy(&length, data, kLength);
  const size_t header_bytes = std::min<uint64_t>(length, size - kLength);
  std::string header(data + kLength, data + kLength + header_bytes);
  std::string rest(data + kLength + header_bytes, data + size);
  damage(random() % 8 == 0 ? rest : header, max_size / 2, random);
  length = header.size();
  const std::string image =
      std::string(reinterpret_cast<const char*>(&length), kLength) + header + rest;
  const size_t kept = std::min(image.size(), max_size);
  std::memcpy(data, image.data(), kept);
  return kept;
}
