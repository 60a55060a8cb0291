#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "data/mapped_file.h"
#include "data/token_type.h"

namespace dsmoe::data {

/// Where the documents of a Megatron `.bin` begin: its `.idx`, mapped. Little-endian, no padding,
/// no array aligned; S sequences, D document boundaries:
///
///     offset     type     content
///     0          9 bytes  "MMIDIDX", two zero bytes
///     9          u64      version, 1
///     17         u8       TokenType
///     18         u64      S, at least 1
///     26         u64      D, at least 1: documents + 1
///     34         i32[S]   length of each sequence in tokens
///     34 + 4S    i64[S]   where each begins in the .bin, in bytes
///     34 + 12S   i64[D]   boundaries of the documents as sequence numbers: 0 ... S
///
/// A *document* here is Megatron's document: one or more sequences (or none), which follow each
/// other in the .bin and are one text for dsmoe. Empty sequences and documents are legal.
class TokenIndex {
 public:
  static constexpr int64_t kHeaderBytes = 34;

  /// Maps the .idx at `path` and checks all of it against a .bin of `bin_bytes`: header, size of
  /// the file, no negative length, every sequence beginning where the one before it ends, the last
  /// at the end of the .bin, boundaries in order from 0 to S. Reads the file once: 12 bytes a
  /// sequence and 8 a document. Throws DataError naming file, byte and the two numbers that clash;
  /// floats and the mode array of multimodal files are refused.
  TokenIndex(const std::string& path, int64_t bin_bytes);

  [[nodiscard]] TokenType type() const { return type_; }
  [[nodiscard]] int64_t num_sequences() const { return num_sequences_; }
  [[nodiscard]] int64_t num_documents() const { return num_boundaries_ - 1; }
  [[nodiscard]] int64_t num_tokens() const { return num_tokens_; }
  /// The first token of document i, counted from the start of the .bin; i = num_documents() gives
  /// num_tokens().
  [[nodiscard]] int64_t start(int64_t i) const;
  /// The .idx as it is.
  [[nodiscard]] std::span<const std::byte> bytes() const { return file_.bytes(); }

 private:
  template <typename T>
  [[nodiscard]] T at(int64_t offset) const;
  [[nodiscard]] int64_t length_offset(int64_t i) const { return kHeaderBytes + 4 * i; }
  [[nodiscard]] int64_t pointer_offset(int64_t i) const {
    return kHeaderBytes + 4 * num_sequences_ + 8 * i;
  }
  [[nodiscard]] int64_t boundary_offset(int64_t i) const {
    return kHeaderBytes + 12 * num_sequences_ + 8 * i;
  }
  [[noreturn]] void refuse(const std::string& reason, const std::string& hint) const;

  void read_header();
  void read_counts();
  void check_size() const;
  void check_sequences(int64_t bin_bytes);
  void check_boundaries() const;

  MappedFile file_;
  TokenType type_ = TokenType::kU16;
  int64_t num_sequences_ = 0;
  int64_t num_boundaries_ = 0;
  int64_t num_tokens_ = 0;
};

}  // namespace dsmoe::data
