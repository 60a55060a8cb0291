#pragma once

#include <memory>

#include "parallel/communicator.h"
#include "parallel/expert_group.h"
#include "parallel/topology.h"

namespace dsmoe::parallel {

/// The groups this rank is a member of. `world` is borrowed and outlives them.
struct ProcessGroups {
  Communicator& world;
  /// "data": the ranks of this pipeline stage, which hold the same dense parameters.
  std::unique_ptr<Communicator> data;
  /// "ep": the ranks that together hold all experts once; rank() is Topology::expert_rank().
  std::unique_ptr<Communicator> expert;
  /// Null, unless they span nodes: "ep_across", the ranks of "ep" of equal place in each node, by
  /// node; "ep_within", those of this node.
  std::unique_ptr<Communicator> expert_across;
  std::unique_ptr<Communicator> expert_within;
  /// "expert_replicas": the ranks that hold the same experts; rank() is Topology::replica().
  std::unique_ptr<Communicator> expert_replicas;
  /// "pipeline_forward" and "pipeline_backward": the ranks that a micro-batch goes through; rank()
  /// is Topology::stage(). Two, so that messages of one direction never stand before the other's.
  std::unique_ptr<Communicator> forward;
  std::unique_ptr<Communicator> backward;

  [[nodiscard]] ExpertGroup experts() const {
    return {*expert, expert_across.get(), expert_within.get()};
  }
};

/// Collective over world.
[[nodiscard]] ProcessGroups make_process_groups(Communicator& world, const Topology& topology);

}  // namespace dsmoe::parallel
