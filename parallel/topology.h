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

}  // namespace dsmoe::parallel
