#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dsmoe::data {

/// Byte-pair merges: starting from one token a byte, the pair of neighbours of the lowest rank, the
/// leftmost of equals, becomes one token, until no pair has a rank.
class BpeMerger {
 public:
  /// What merge() works on; one for each thread that merges.
  struct Scratch {
    struct Symbol {
      uint32_t token;
      int32_t previous;
      int32_t next;  ///< -1: none
      bool alive;
    };
    struct Candidate {
      uint32_t rank;
      uint32_t position;
      uint32_t left;  ///< the pair as it was when it was found
      uint32_t right;
      uint32_t result;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::vector<uint32_t> ranks;
  };

  struct Merge {
    uint32_t left;
    uint32_t right;
    uint32_t result;
  };

  /// byte_tokens: the token of each byte. merges: by rank; of two for one pair the last counts.
  BpeMerger(const std::array<uint32_t, 256>& byte_tokens, const std::vector<Merge>& merges);

  /// Appends the tokens of `word` to `ids`. O(n log n) for n bytes.
  void merge(std::string_view word, Scratch& scratch, std::vector<uint32_t>& ids) const;

 private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
    uint32_t result;
  };
  static constexpr uint32_t kNoRank = UINT32_MAX;

  [[nodiscard]] const Slot& find(uint32_t left, uint32_t right) const;
  Slot& slot(uint64_t pair);
  void merge_short(Scratch& scratch, std::vector<uint32_t>& ids) const;
  void merge_long(Scratch& scratch, std::vector<uint32_t>& ids) const;
  void push(Scratch& scratch, int32_t position) const;

  std::array<uint32_t, 256> byte_tokens_;
  std::vector<Slot> slots_;  ///< a hash table with linear probing, at most half full
  uint64_t mask_;
};

}  // namespace dsmoe::data
