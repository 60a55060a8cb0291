#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace dsmoe::nn {

/// The pairs [begin, begin + count) of one expert.
struct ExpertSlice {
  int64_t expert;
  int64_t begin;
  int64_t count;

  [[nodiscard]] at::Tensor of(const at::Tensor& pairs) const {
    return pairs.narrow(0, begin, count);
  }
};

/// Of the experts that have pairs; offsets as ExpertsImpl::forward takes them.
[[nodiscard]] inline std::vector<ExpertSlice> expert_slices(const std::vector<int64_t>& offsets) {
  std::vector<ExpertSlice> result;
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    if (offsets[e + 1] == offsets[e]) continue;
    result.push_back({static_cast<int64_t>(e), offsets[e], offsets[e + 1] - offsets[e]});
  }
  return result;
}

/// body(slice) for each expert. On threads, where there are experts enough: they take them one by
/// one, the largest first; else all threads work on one expert after the other. Bodies touch
/// nothing of another expert's.
template <class Body>
void for_experts(bool on_threads, std::vector<ExpertSlice> experts, const Body& body) {
  const auto threads = static_cast<size_t>(at::get_num_threads());
  if (!on_threads || experts.size() < 2 * threads) {
    for (const ExpertSlice& s : experts) body(s);
    return;
  }
  std::stable_sort(experts.begin(), experts.end(),
                   [](const ExpertSlice& a, const ExpertSlice& b) { return a.count > b.count; });
  std::atomic<size_t> next{0};
  at::parallel_for(0, static_cast<int64_t>(threads), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < experts.size(); i = next++) body(experts[i]);
  });
}

}  // namespace dsmoe::nn
