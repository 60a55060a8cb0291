#include "data/token_index.h"

#include <string>

#include "configs/errors.h"
#include "tests/data/token_pair.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace dsmoe::data {
namespace {

using test::has;
using test::patched;

/// Two documents of uint16: sequences of 3 and 2 tokens, and one of 1. Lengths stand at bytes 34,
/// 38, 42, pointers at 46, 54, 62, boundaries (0, 2, 3) at 70, 78, 86.
constexpr int64_t kBinBytes = 12;
constexpr size_t kLengths = 34;
constexpr size_t kPointers = 46;
constexpr size_t kBoundaries = 70;

template <typename T>
std::string bytes_of(T value) {
  return patched(std::string(sizeof(T), '\0'), 0, value);
}

std::string good_index() {
  std::string bytes("MMIDIDX\0\0", 9);
  bytes += bytes_of(uint64_t{1}) + bytes_of(uint8_t{8});
  bytes += bytes_of(uint64_t{3}) + bytes_of(uint64_t{3});
  for (const int32_t length : {3, 2, 1}) bytes += bytes_of(length);
  for (const int64_t pointer : {0, 6, 10}) bytes += bytes_of(pointer);
  for (const int64_t boundary : {0, 2, 3}) bytes += bytes_of(boundary);
  return bytes;
}

/// What is said about an .idx of these bytes, after checking that it names file and a hint.
std::string complaint(const std::string& bytes, int64_t bin_bytes = kBinBytes) {
  const test::TempDirectory folder;
  const std::string path = test::write_file(folder / "a.idx", bytes);
  const std::string message =
      test::message_of<DataError>([&] { const TokenIndex index(path, bin_bytes); });
  INFO(message);
  CHECK(message.rfind(path + ": ", 0) == 0);
  CHECK(has(message, "\nhint: "));
  return message;
}

TEST_CASE("an index tells where documents of several sequences begin") {
  const test::TempDirectory folder;
  const TokenIndex index(test::write_file(folder / "a.idx", good_index()), kBinBytes);
  CHECK(index.type() == TokenType::kU16);
  CHECK(index.num_sequences() == 3);
  CHECK(index.num_documents() == 2);
  CHECK(index.num_tokens() == 6);
  CHECK(index.start(0) == 0);
  CHECK(index.start(1) == 5);
  CHECK(index.start(2) == 6);
}

TEST_CASE("an index that is no index, or of another version or type, is refused") {
  CHECK(has(complaint(""), "ends at byte 0, within its header of 34"));
  CHECK(has(complaint(good_index().substr(0, 33)), "ends at byte 33, within its header of 34"));
  CHECK(has(complaint(patched(good_index(), 6, 'Y')), "MMIDIDX"));
  CHECK(has(complaint(patched(good_index(), 8, '\1')), "MMIDIDX"));
  CHECK(has(complaint(patched(good_index(), 9, uint64_t{2})), "version at byte 9 is 2, not 1"));
  CHECK(has(complaint(patched(good_index(), 17, uint8_t{0})), "type at byte 17 is 0"));
  CHECK(has(complaint(patched(good_index(), 17, uint8_t{9})), "type at byte 17 is 9"));
  CHECK(has(complaint(patched(good_index(), 17, uint8_t{6})), "is 6 (float64)"));
  CHECK(has(complaint(patched(good_index(), 17, uint8_t{7})), "is 7 (float32)"));
}

TEST_CASE("an index whose counts are zero or cannot be is refused") {
  CHECK(has(complaint(patched(good_index(), 18, uint64_t{0})), "sequences at byte 18 is 0"));
  CHECK(has(complaint(patched(good_index(), 26, uint64_t{0})), "boundaries at byte 26 is 0"));
  for (const uint64_t count : {uint64_t{1} << 62, ~uint64_t{0}}) {
    CHECK(has(complaint(patched(good_index(), 18, count)), "do not fit its 94 bytes"));
    CHECK(has(complaint(patched(good_index(), 26, count)), "do not fit its 94 bytes"));
  }
}

TEST_CASE("an index of the wrong size is refused, one with modes for what it is") {
  CHECK(has(complaint(good_index() + "x"), "has 95 bytes, but 3 sequences and 3 document"));
  CHECK(has(complaint(good_index().substr(0, 93)), "has 93 bytes"));
  CHECK(has(complaint(good_index() + "xxx"), "multimodal"));
}

TEST_CASE("lengths must not be negative") {
  const auto message = complaint(patched(good_index(), kLengths + 4, int32_t{-2}));
  CHECK(has(message, "length of sequence 1 at byte 38 is -2, less than 0"));
}

TEST_CASE("every sequence begins where the one before it ends") {
  const auto with_pointer = [](size_t i, int64_t pointer) {
    return complaint(patched(good_index(), kPointers + 8 * i, pointer));
  };
  CHECK(has(with_pointer(0, 2),
            "sequence 0 begins at byte 2 of the .bin, says byte 46, but the "
            "lengths before it end at 0"));
  CHECK(has(with_pointer(1, 7), "sequence 1 begins at byte 7"));      // within a token
  CHECK(has(with_pointer(1, 4), "sequence 1 begins at byte 4"));      // overlapping
  CHECK(has(with_pointer(1, 8), "sequence 1 begins at byte 8"));      // with a gap
  CHECK(has(with_pointer(2, 3), "sequence 2 begins at byte 3"));      // before its predecessor
  CHECK(has(with_pointer(2, 100), "sequence 2 begins at byte 100"));  // outside
  CHECK(has(with_pointer(2, -2), "sequence 2 begins at byte -2"));
}

TEST_CASE("the index must end where the .bin does") {
  CHECK(has(complaint(good_index(), 10), "sequence 2 ends at byte 12 of a .bin of 10 bytes"));
  CHECK(has(complaint(good_index(), 0), "sequence 0 ends at byte 6 of a .bin of 0 bytes"));
  CHECK(has(complaint(good_index(), 14), "of uint16 end at byte 12 of a .bin of 14 bytes"));
  CHECK(has(complaint(patched(good_index(), 17, uint8_t{4})), "sequence 1 begins at byte 6"));
}

TEST_CASE("document boundaries go from 0 to the number of sequences, never back") {
  const auto with_boundary = [](size_t i, int64_t boundary) {
    return complaint(patched(good_index(), kBoundaries + 8 * i, boundary));
  };
  CHECK(has(with_boundary(0, 1), "document boundary 0 at byte 70 is 1, must be 0"));
  CHECK(has(with_boundary(0, -1), "document boundary 0 at byte 70 is -1, must be 0"));
  CHECK(has(with_boundary(1, -1), "boundary 1 at byte 78 is -1, less than the one before it, 0"));
  CHECK(has(with_boundary(1, 4), "boundary 2 at byte 86 is 3, less than the one before it, 4"));
  CHECK(has(with_boundary(2, 2), "at byte 86, is 2, must be the number of sequences, 3"));
  CHECK(has(with_boundary(2, 4), "at byte 86, is 4, must be the number of sequences, 3"));
  CHECK(
      has(complaint(patched(patched(good_index(), 26, uint64_t{1}).substr(0, 78), 18, uint64_t{3})),
          "at byte 70, is 0, must be the number of sequences, 3"));
}

TEST_CASE("documents may be empty") {
  const test::TempDirectory folder;
  const std::string bytes = patched(good_index(), kBoundaries + 8, int64_t{0});
  const TokenIndex index(test::write_file(folder / "a.idx", bytes), kBinBytes);
  CHECK(index.start(1) == 0);
  CHECK(index.start(2) == 6);
}

TEST_CASE("a missing index or a folder in its place is named") {
  const test::TempDirectory folder;
  const auto open = [](const std::string& path) {
    return test::message_of<DataError>([&] { const TokenIndex index(path, 0); });
  };
  CHECK(has(open(folder / "no.idx"), "no.idx: No such file"));
  CHECK(has(open(folder.path()), "not a regular file"));
}

}  // namespace
}  // namespace dsmoe::data
