#include "data/token_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <ranges>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

namespace fs = std::filesystem;
using std::to_string;

constexpr int64_t kBlocks = 64;
constexpr int64_t kBlockBytes = int64_t{64} << 10;

}  // namespace

std::optional<std::string> token_file_prefix(const std::string& path) {
  const fs::path file(path);
  if (file.extension() == ".bin" || file.extension() == ".idx") {
    return path.substr(0, path.size() - 4);
  }
  std::error_code none;
  const bool pair = fs::exists(path + ".bin", none) || fs::exists(path + ".idx", none);
  return pair && !fs::exists(file, none) ? std::optional(path) : std::nullopt;
}

TokenFile::TokenFile(const std::string& prefix, int64_t vocab_size)
    : bin_(prefix + ".bin"), index_(prefix + ".idx", bin_.size()), vocab_size_(vocab_size) {}

void TokenFile::copy(int64_t position, int64_t count, int64_t* out) const {
  const auto limit = static_cast<uint64_t>(vocab_size_);
  const bool known = with_token_type(index_.type(), [&](auto token) {
    const std::byte* at = bin_.bytes().data() + position * static_cast<int64_t>(sizeof(token));
    bool all_known = true;
    for (int64_t i = 0; i < count; ++i, at += sizeof(token)) {
      std::memcpy(&token, at, sizeof(token));
      out[i] = static_cast<int64_t>(token);
      // A negative id is a huge one here.
      all_known &= static_cast<uint64_t>(out[i]) < limit;
    }
    return all_known;
  });
  if (known) return;
  const int64_t* wrong = std::find_if(
      out, out + count, [&](int64_t id) { return static_cast<uint64_t>(id) >= limit; });
  refuse(position + (wrong - out), *wrong);
}

void TokenFile::refuse(int64_t position, int64_t id) const {
  const auto after =
      *std::ranges::partition_point(std::views::iota(int64_t{0}, num_documents()),
                                    [&](int64_t i) { return start(i + 1) <= position; });
  throw DataError(bin_.path() + ": token " + to_string(position - start(after)) + " of document " +
                  to_string(after) + " (byte " + to_string(position * size_of(index_.type())) +
                  ") is " + to_string(id) + ", outside the vocabulary of " +
                  to_string(vocab_size_) +
                  "\nhint: the file was made with another tokenizer; name that one, or tokenize "
                  "the text again");
}

void TokenFile::add_to(Fingerprint& hash) const {
  hash.add(index_.bytes());
  const auto size = static_cast<double>(bin_.size());
  hash.add(size);
  const int64_t last = std::max<int64_t>(bin_.size() - kBlockBytes, 0);
  if (bin_.size() <= kBlocks * kBlockBytes) {
    hash.add(bin_.bytes());
    return;
  }
  for (int64_t block = 0; block < kBlocks; ++block) {
    // Not last * block / (kBlocks - 1) from doubles: exact, and far from overflow.
    const int64_t begin =
        last / (kBlocks - 1) * block + last % (kBlocks - 1) * block / (kBlocks - 1);
    hash.add(bin_.bytes().subspan(static_cast<size_t>(begin), static_cast<size_t>(kBlockBytes)));
  }
}

}  // namespace dsmoe::data
