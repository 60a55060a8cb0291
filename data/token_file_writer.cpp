#include "data/token_file_writer.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr uint64_t kVersion = 1;

const std::string& checked(const std::string& prefix, bool overwrite) {
  for (const char* ending : {".idx", ".bin"}) {
    const std::string path = prefix + ending;
    if (!overwrite && std::filesystem::exists(path)) {
      throw DataError(path +
                      " exists already\nhint: choose another output, or replace it with "
                      "--overwrite");
    }
  }
  return prefix;
}

template <typename T>
void put(PendingFile& file, const T& value) {
  file.write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace

TokenFileWriter::TokenFileWriter(const std::string& prefix, const TokenFileOptions& options)
    : options_(options),
      prefix_(checked(prefix, options.overwrite)),
      bin_(prefix + ".bin"),
      index_(prefix + ".idx") {
  TORCH_CHECK(options.sequence_limit >= 1, "sequences of at most ", options.sequence_limit);
}

void TokenFileWriter::append(const std::vector<int64_t>& ids) {
  std::vector<std::byte> bytes;
  append_tokens(ids, options_.type, bytes);
  append_raw(bytes);
}

void TokenFileWriter::append_raw(std::span<const std::byte> tokens) {
  const int64_t token_bytes = size_of(options_.type);
  int64_t missing = static_cast<int64_t>(tokens.size()) / token_bytes;
  bin_.write(tokens);
  num_tokens_ += missing;
  while (missing > 0) {
    if (sequence_tokens_ == options_.sequence_limit) end_sequence();
    const int64_t count = std::min(missing, options_.sequence_limit - sequence_tokens_);
    sequence_tokens_ += count;
    missing -= count;
  }
}

void TokenFileWriter::end_sequence() {
  lengths_.push_back(static_cast<int32_t>(sequence_tokens_));
  sequence_tokens_ = 0;
}

void TokenFileWriter::end_document() {
  if (sequence_tokens_ > 0) end_sequence();
  boundaries_.push_back(static_cast<int64_t>(lengths_.size()));
}

void TokenFileWriter::write_index() {
  index_.write(std::as_bytes(std::span(kMagic)));
  put(index_, kVersion);
  put(index_, options_.type);
  put(index_, uint64_t{lengths_.size()});
  put(index_, uint64_t{boundaries_.size()});
  index_.write(std::as_bytes(std::span(lengths_)));
  int64_t pointer = 0;
  for (const int32_t length : lengths_) {
    put(index_, pointer);
    pointer += length * size_of(options_.type);
  }
  index_.write(std::as_bytes(std::span(boundaries_)));
}

void TokenFileWriter::finish() {
  TORCH_CHECK(sequence_tokens_ == 0 && !lengths_.empty(),
              "a document is open, or none was written");
  bin_.sync();
  write_index();
  index_.sync();
  checked(prefix_, options_.overwrite);
  publish();
  index_.sync_folder();
}

void TokenFileWriter::publish() {
  ::unlink(index_.path().c_str());
  bin_.publish();
  try {
    index_.publish();
  } catch (const std::exception&) {
    ::unlink(bin_.path().c_str());
    throw;
  }
}

}  // namespace dsmoe::data
