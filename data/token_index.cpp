#include "data/token_index.h"

#include <bit>
#include <cstring>
#include <string_view>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

using std::to_string;

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr int64_t kVersionOffset = 9;
constexpr int64_t kTypeOffset = 17;
constexpr int64_t kSequencesOffset = 18;
constexpr int64_t kBoundariesOffset = 26;
constexpr uint64_t kVersion = 1;
constexpr const char* kMakeAgain =
    "the file is damaged or incomplete: copy it again, or make it anew with dsmoe tokenize";

}  // namespace

template <typename T>
T TokenIndex::at(int64_t offset) const {
  T value;
  std::memcpy(&value, file_.bytes().data() + offset, sizeof(T));
  return value;
}

void TokenIndex::refuse(const std::string& reason, const std::string& hint) const {
  throw DataError(file_.path() + ": " + reason + "\nhint: " + hint);
}

TokenIndex::TokenIndex(const std::string& path, int64_t bin_bytes) : file_(path) {
  read_header();
  read_counts();
  check_size();
  check_sequences(bin_bytes);
  check_boundaries();
}

void TokenIndex::read_header() {
  if (file_.size() < kHeaderBytes) {
    refuse("ends at byte " + to_string(file_.size()) + ", within its header of " +
               to_string(kHeaderBytes),
           kMakeAgain);
  }
  if (std::memcmp(file_.bytes().data(), kMagic.data(), kMagic.size()) != 0) {
    refuse("does not begin with the 9 bytes of a Megatron index, \"MMIDIDX\" and two zeros",
           "only Megatron's .bin/.idx pairs are read; dsmoe tokenize makes them");
  }
  if (const auto version = at<uint64_t>(kVersionOffset); version != kVersion) {
    refuse("version at byte 9 is " + to_string(version) + ", not " + to_string(kVersion),
           "make the file anew with dsmoe tokenize or Megatron's preprocess_data.py");
  }
  const auto code = at<uint8_t>(kTypeOffset);
  if (code == 6 || code == 7) {
    refuse("token type at byte 17 is " + to_string(code) +
               (code == 6 ? " (float64)" : " (float32)") +
               ", but tokens are integers: types 1 to 5 and 8",
           "this is a file of numbers, not of tokens");
  }
  if (code < 1 || code > 8) {
    refuse("token type at byte 17 is " + to_string(code) + ", not one of 1 to 5 and 8", kMakeAgain);
  }
  type_ = static_cast<TokenType>(code);
}

void TokenIndex::read_counts() {
  const auto sequences = at<uint64_t>(kSequencesOffset);
  const auto boundaries = at<uint64_t>(kBoundariesOffset);
  if (sequences == 0) refuse("number of sequences at byte 18 is 0, must be at least 1", kMakeAgain);
  if (boundaries == 0) {
    refuse("number of document boundaries at byte 26 is 0, must be at least 1", kMakeAgain);
  }
  const auto size = static_cast<uint64_t>(file_.size());
  if (sequences > size / 12 || boundaries > size / 8) {
    refuse(to_string(sequences) + " sequences (12 bytes each) and " + to_string(boundaries) +
               " document boundaries (8 bytes each) do not fit its " + to_string(size) + " bytes",
           kMakeAgain);
  }
  num_sequences_ = static_cast<int64_t>(sequences);
  num_boundaries_ = static_cast<int64_t>(boundaries);
}

void TokenIndex::check_size() const {
  const int64_t expected = boundary_offset(num_boundaries_);
  if (file_.size() == expected + num_sequences_) {
    refuse("has a mode for each of its " + to_string(num_sequences_) + " sequences from byte " +
               to_string(expected) + " on: a multimodal file",
           "dsmoe trains on text; make the file from text alone, without modes");
  }
  if (file_.size() != expected) {
    refuse("has " + to_string(file_.size()) + " bytes, but " + to_string(num_sequences_) +
               " sequences and " + to_string(num_boundaries_) + " document boundaries take " +
               to_string(expected),
           kMakeAgain);
  }
}

void TokenIndex::check_sequences(int64_t bin_bytes) {
  const int64_t token_bytes = size_of(type_);
  int64_t end = 0;
  for (int64_t i = 0; i < num_sequences_; ++i) {
    const int64_t length = at<int32_t>(length_offset(i));
    const auto pointer = at<int64_t>(pointer_offset(i));
    if (length < 0) {
      refuse("length of sequence " + to_string(i) + " at byte " + to_string(length_offset(i)) +
                 " is " + to_string(length) + ", less than 0",
             kMakeAgain);
    }
    if (pointer != end) {
      refuse("sequence " + to_string(i) + " begins at byte " + to_string(pointer) +
                 " of the .bin, says byte " + to_string(pointer_offset(i)) +
                 ", but the lengths before it end at " + to_string(end),
             kMakeAgain);
    }
    end += length * token_bytes;
    // Checked here and not once at the end: the sum stays far from overflow.
    if (end > bin_bytes) {
      refuse("sequence " + to_string(i) + " ends at byte " + to_string(end) + " of a .bin of " +
                 to_string(bin_bytes) + " bytes",
             "the two files are not a pair, or the .bin is incomplete: copy both again");
    }
  }
  if (end != bin_bytes) {
    refuse("its sequences of " + name_of(type_) + " end at byte " + to_string(end) +
               " of a .bin of " + to_string(bin_bytes) + " bytes",
           "the two files are not a pair: copy both again");
  }
  num_tokens_ = end / token_bytes;
}

void TokenIndex::check_boundaries() const {
  int64_t before = 0;
  for (int64_t i = 0; i < num_boundaries_; ++i) {
    const auto boundary = at<int64_t>(boundary_offset(i));
    if (i == 0 ? boundary != 0 : boundary < before) {
      refuse("document boundary " + to_string(i) + " at byte " + to_string(boundary_offset(i)) +
                 " is " + to_string(boundary) +
                 (i == 0 ? ", must be 0" : ", less than the one before it, " + to_string(before)),
             kMakeAgain);
    }
    before = boundary;
  }
  if (before != num_sequences_) {
    refuse("its last document boundary, at byte " +
               to_string(boundary_offset(num_boundaries_ - 1)) + ", is " + to_string(before) +
               ", must be the number of sequences, " + to_string(num_sequences_),
           kMakeAgain);
  }
}

int64_t TokenIndex::start(int64_t i) const {
  const auto sequence = at<int64_t>(boundary_offset(i));
  if (sequence == num_sequences_) return num_tokens_;
  return at<int64_t>(pointer_offset(sequence)) / size_of(type_);
}

}  // namespace dsmoe::data
