// Safetensors files, damaged at random: the length and the header are parsed, or rejected with a
// CheckpointError; any other exception, and a header that breaks its promises, ends the program.
#include <algorithm>
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

using Strings = std::vector<std::string_view>;

// What the format is made of, and what has broken other readers.
const Strings kNumbers = {"0",
                          "1",
                          "2",
                          "3",
                          "4",
                          "8",
                          "16",
                          "-1",
                          "-0",
                          "1.0",
                          "1e3",
                          "1e999",
                          "255",
                          "256",
                          "4294967296",
                          "9223372036854775807",
                          "9223372036854775808",
                          "18446744073709551616"};
const Strings kTexts = {
    "\"a\"",    "\"b\"",       "\"dtype\"",   "\"shape\"",   "\"data_offsets\"", "\"__metadata__\"",
    "\"F64\"",  "\"F32\"",     "\"BF16\"",    "\"U8\"",      "\"F4\"",           "\"F6_E2M3\"",
    "\"BOOL\"", "\"\\u0000\"", "\"\\ud83d\"", "\"\\u0061\"", "\"\xff\""};
const Strings kAnything = {
    "{", "}", "[", "]", ",", ":", "\"", " ", "null", "true", "\xef\xbb\xbf", "[0,0]"};
const Strings kEntries = {
    R"("__metadata__":{"k":"v"},)", R"("z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)",
    R"("y":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)",
    R"("x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)",
    R"("w":{"note":[[[]]],"dtype":"F4","shape":[2,0],"data_offsets":[8,8]},)"};

struct Stretch {
  size_t begin;
  size_t size;
};

bool is_digit(char c) { return '0' <= c && c <= '9'; }

/// The numbers of JSON, or its strings with their quotes.
std::vector<Stretch> stretches(const std::string& text, bool numbers) {
  std::vector<Stretch> found;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t begin = i;
    if (text[i] == '"') {
      while (++i < text.size() && text[i] != '"') i += text[i] == '\\';
      if (!numbers && i < text.size()) found.push_back({begin, i + 1 - begin});
    } else if (is_digit(text[i])) {
      while (i + 1 < text.size() && is_digit(text[i + 1])) ++i;
      if (numbers) found.push_back({begin, i + 1 - begin});
    }
  }
  return found;
}

template <typename Items>
const auto& any_of(const Items& items, std::minstd_rand& random) {
  return items[random() % items.size()];
}

/// A number in place of another, or a string: one of the header's own or of those above.
void replace_token(std::string& text, std::minstd_rand& random) {
  const bool numbers = random() % 4 != 0;
  const auto places = stretches(text, numbers);
  if (places.empty()) return;
  const Stretch place = any_of(places, random);
  const Stretch other = any_of(places, random);
  const std::string token(random() % 2 == 0 ? std::string_view(text).substr(other.begin, other.size)
                                            : any_of(numbers ? kNumbers : kTexts, random));
  text.replace(place.begin, place.size, token);
}

void damage(std::string& text, size_t max_size, std::minstd_rand& random) {
  const auto choice = random() % 8;
  const size_t place = random() % (text.size() + 1);
  if (choice < 5) return replace_token(text, random);
  if (choice == 5 && !text.empty()) {
    text.insert(1, any_of(kEntries, random));
  } else if (choice == 6) {
    text.insert(place, any_of(random() % 2 == 0 ? kAnything : kTexts, random));
  } else {
    std::vector<uint8_t> bytes(text.begin(), text.end());
    bytes.resize(std::max(max_size, text.size()) + 1);
    bytes.resize(LLVMFuzzerMutate(bytes.data(), text.size(), bytes.size()));
    text.assign(bytes.begin(), bytes.end());
  }
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
