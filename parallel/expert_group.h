#pragma once

#include <cstdint>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// The ranks that together hold all experts once. Where they span nodes of several ranks each, two
/// groups more: rows then cross to a node once and fan out inside. All borrowed.
struct ExpertGroup {
  /// One group, no nodes. Implicit: a group is itself where nothing is said of nodes.
  ExpertGroup(Communicator& ranks) : all(&ranks) {}  // NOLINT(google-explicit-constructor)
  /// across: the ranks of equal place in every node, by node; within: those of this node, by place.
  ExpertGroup(Communicator& ranks, Communicator* across_nodes, Communicator* within_node)
      : all(&ranks), across(across_nodes), within(within_node) {}

  [[nodiscard]] bool spans_nodes() const { return across != nullptr; }
  [[nodiscard]] int64_t rank() const { return all->rank(); }
  [[nodiscard]] int64_t size() const { return all->size(); }

  Communicator* all;
  Communicator* across = nullptr;
  Communicator* within = nullptr;
};

}  // namespace dsmoe::parallel
