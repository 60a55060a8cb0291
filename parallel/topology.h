#pragma once

#include <cstdint>

namespace dsmoe::parallel {

/// Where this rank stands. world = expert * replicas; the ranks of an expert-parallel group are
/// consecutive.
struct Topology {
  int64_t world = 1;
  int64_t rank = 0;
  int64_t expert_size = 1;

  [[nodiscard]] int64_t replicas() const { return world / expert_size; }
  [[nodiscard]] int64_t expert_rank() const { return rank % expert_size; }
  [[nodiscard]] int64_t replica() const { return rank / expert_size; }
};

/// `expert_size` is the configuration's `parallel.expert`. Throws ConfigError when it is below 1
/// or does not divide `world`.
[[nodiscard]] Topology make_topology(int64_t world, int64_t rank, int64_t expert_size);

/// Experts, or logical device groups, begin .. end - 1.
struct ExpertRange {
  int64_t begin = 0;
  int64_t end = 0;

  [[nodiscard]] int64_t size() const { return end - begin; }
};

/// What the member `expert_rank` of an expert-parallel group holds: equal, consecutive shares.
/// Throws ConfigError when expert_size does not divide num_experts.
[[nodiscard]] ExpertRange experts_of(const Topology& topology, int64_t expert_rank,
                                     int64_t num_experts);

}  // namespace dsmoe::parallel
