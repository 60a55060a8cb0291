#include "data/bpe_merger.h"

#include <algorithm>
#include <bit>
#include <cstddef>

namespace dsmoe::data {
namespace {

using Scratch = BpeMerger::Scratch;

// Up to here looking at every pair after each merge is quicker than a heap.
constexpr size_t kShortWord = 48;

uint64_t pair_of(uint32_t left, uint32_t right) { return (uint64_t{left} << 32) | right; }

/// No pair of tokens, whose ids stay below 2^31, has this key.
constexpr uint64_t kEmpty = UINT64_MAX;

uint64_t hash(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15U;
  return pair ^ (pair >> 32);
}

/// For std::push_heap, which keeps the largest on top.
bool comes_later(const Scratch::Candidate& a, const Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

BpeMerger::BpeMerger(const std::array<uint32_t, 256>& byte_tokens, const std::vector<Merge>& merges)
    : byte_tokens_(byte_tokens),
      slots_(std::bit_ceil(merges.size() * 2 + 2), Slot{kEmpty, kNoRank, 0}),
      mask_(slots_.size() - 1) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    slot(pair) = {pair, static_cast<uint32_t>(rank), merges[rank].result};
  }
}

BpeMerger::Slot& BpeMerger::slot(uint64_t pair) {
  uint64_t i = hash(pair) & mask_;
  while (slots_[i].pair != pair && slots_[i].pair != kEmpty) {
    i = (i + 1) & mask_;
  }
  return slots_[i];
}

const BpeMerger::Slot& BpeMerger::find(uint32_t left, uint32_t right) const {
  const uint64_t pair = pair_of(left, right);
  uint64_t i = hash(pair) & mask_;
  while (slots_[i].pair != pair && slots_[i].pair != kEmpty) {
    i = (i + 1) & mask_;
  }
  return slots_[i];
}

void BpeMerger::merge(std::string_view word, Scratch& scratch, std::vector<uint32_t>& ids) const {
  auto& symbols = scratch.symbols;
  symbols.resize(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    const auto position = static_cast<int32_t>(i);
    symbols[i] = {byte_tokens_[static_cast<uint8_t>(word[i])], position - 1, position + 1, true};
  }
  if (word.size() <= kShortWord) {
    merge_short(scratch, ids);
  } else {
    symbols.back().next = -1;
    merge_long(scratch, ids);
  }
}

void BpeMerger::merge_short(Scratch& scratch, std::vector<uint32_t>& ids) const {
  auto& symbols = scratch.symbols;
  auto& ranks = scratch.ranks;  // of symbol i with the one after it
  ranks.assign(symbols.size(), kNoRank);
  const auto look = [&](size_t i) {
    ranks[i] = i + 1 < symbols.size() ? find(symbols[i].token, symbols[i + 1].token).rank : kNoRank;
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    look(i);
  }
  while (!symbols.empty()) {
    const auto lowest = std::min_element(ranks.begin(), ranks.end());
    if (*lowest == kNoRank) break;
    const auto i = static_cast<size_t>(lowest - ranks.begin());
    symbols[i].token = find(symbols[i].token, symbols[i + 1].token).result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks.erase(ranks.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    look(i);
    if (i > 0) look(i - 1);
  }
  for (const auto& symbol : symbols) {
    ids.push_back(symbol.token);
  }
}

void BpeMerger::push(Scratch& scratch, int32_t position) const {
  const auto& symbol = scratch.symbols[static_cast<size_t>(position)];
  if (symbol.next < 0) {
    return;
  }
  const uint32_t right = scratch.symbols[static_cast<size_t>(symbol.next)].token;
  const Slot& found = find(symbol.token, right);
  if (found.rank != kNoRank) {
    scratch.heap.push_back(
        {found.rank, static_cast<uint32_t>(position), symbol.token, right, found.result});
    std::push_heap(scratch.heap.begin(), scratch.heap.end(), comes_later);
  }
}

void BpeMerger::merge_long(Scratch& scratch, std::vector<uint32_t>& ids) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  for (size_t i = 0; i < symbols.size(); ++i) {
    push(scratch, static_cast<int32_t>(i));
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.position];
    if (!left.alive || left.token != best.left || left.next < 0) continue;
    auto& right = symbols[static_cast<size_t>(left.next)];
    if (right.token != best.right) continue;
    left.token = best.result;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0)
      symbols[static_cast<size_t>(left.next)].previous = static_cast<int32_t>(best.position);
    if (left.previous >= 0) push(scratch, left.previous);
    push(scratch, static_cast<int32_t>(best.position));
  }
  for (const auto& symbol : symbols) {
    if (symbol.alive) ids.push_back(symbol.token);
  }
}

}  // namespace dsmoe::data
