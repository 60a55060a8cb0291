#pragma once

#include <memory>

#include "parallel/communicator.h"
#include "parallel/topology.h"

namespace dsmoe::parallel {

/// The groups this rank is a member of. `world` is borrowed and outlives them.
struct ProcessGroups {
  Communicator& world;
  /// "ep": the ranks that together hold all experts once; rank() is Topology::expert_rank().
  std::unique_ptr<Communicator> expert;
  /// "expert_replicas": the ranks that hold the same experts; rank() is Topology::replica().
  std::unique_ptr<Communicator> expert_replicas;
};

/// Collective over world.
[[nodiscard]] ProcessGroups make_process_groups(Communicator& world, const Topology& topology);

}  // namespace dsmoe::parallel
