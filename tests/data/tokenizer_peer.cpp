/// Encodes what it is sent, for comparison with other tokenizers and for timing.
///
///   tokenizer_peer TOKENIZER            request: uint32 length, bytes
///                                       answer:  uint32 count, count x int32 ids, uint32 length,
///                                       bytes decoded
///   tokenizer_peer TOKENIZER --time     the same requests, read to the end; then prints the
///   seconds
///                                       that encoding all of them took, and the number of ids
///
/// Integers are as the machine has them.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "configs/errors.h"
#include "data/tokenizer.h"

namespace {

using dsmoe::data::Tokenizer;

bool read_text(std::string& text) {
  uint32_t length = 0;
  if (std::fread(&length, sizeof(length), 1, stdin) != 1) {
    return false;
  }
  text.resize(length);
  return std::fread(text.data(), 1, length, stdin) == length;
}

template <typename T>
void write(const T* values, size_t count) {
  const auto length = static_cast<uint32_t>(count);
  std::fwrite(&length, sizeof(length), 1, stdout);
  if (count > 0) std::fwrite(values, sizeof(T), count, stdout);  // no values: a null pointer
}

void answer(const Tokenizer& tokenizer) {
  for (std::string text; read_text(text);) {
    const std::vector<int64_t> ids = tokenizer.encode(text);
    const std::vector<int32_t> narrow(ids.begin(), ids.end());
    write(narrow.data(), narrow.size());
    const std::string decoded = tokenizer.decode(ids);
    write(decoded.data(), decoded.size());
  }
}

void time(const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (std::string text; read_text(text);) {
    texts.push_back(text);
  }
  const auto start = std::chrono::steady_clock::now();
  size_t count = 0;
  for (const std::string& text : texts) {
    count += tokenizer.encode(text).size();
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  std::printf("%.6f %zu\n", taken.count(), count);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto tokenizer = dsmoe::data::make_tokenizer(argc > 1 ? argv[1] : "byte");
    argc > 2 && std::string_view(argv[2]) == "--time" ? time(*tokenizer) : answer(*tokenizer);
  } catch (const dsmoe::UserError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
