#pragma once

#include <cstdint>

namespace dsmoe::parallel {

/// Where this rank stands. world = stages * expert * replicas. The ranks of a pipeline stage are
/// consecutive, within it those of an expert-parallel group: what talks most lies together.
struct Topology {
  int64_t world = 1;
  int64_t rank = 0;
  int64_t expert_size = 1;
  int64_t stages = 1;
  int64_t ranks_per_node = 0;  ///< consecutive ones; 0: unknown

  /// Ranks of a stage: those that share the batch out.
  [[nodiscard]] int64_t data_size() const { return world / stages; }
  [[nodiscard]] int64_t data_rank() const { return rank % data_size(); }
  [[nodiscard]] int64_t stage() const { return rank / data_size(); }
  [[nodiscard]] int64_t replicas() const { return data_size() / expert_size; }
  [[nodiscard]] int64_t expert_rank() const { return rank % expert_size; }
  [[nodiscard]] int64_t replica() const { return data_rank() / expert_size; }
  /// Whether the ranks of an expert group lie in several nodes, with several in each.
  [[nodiscard]] bool experts_span_nodes() const {
    return 1 < ranks_per_node && ranks_per_node < expert_size;
  }
  /// Ranks that together hold the model once, and this one's place among them.
  [[nodiscard]] int64_t shards() const { return stages * expert_size; }
  [[nodiscard]] int64_t shard() const { return stage() * expert_size + expert_rank(); }
};

/// `expert_size` and `stages` are the configuration's `parallel.expert` and `parallel.pipeline`.
/// Throws ConfigError when one is below 1 or their product does not divide `world`, and where
/// expert groups would have parts of nodes of several sizes.
[[nodiscard]] Topology make_topology(int64_t world, int64_t rank, int64_t expert_size,
                                     int64_t stages = 1, int64_t ranks_per_node = 0);

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
