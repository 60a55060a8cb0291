#include "parallel/process_groups.h"

#include <c10/util/Exception.h>

#include <utility>

namespace dsmoe::parallel {

ProcessGroups make_process_groups(Communicator& world, const Topology& topology) {
  TORCH_CHECK(world.size() == topology.world && world.rank() == topology.rank, "rank ",
              world.rank(), " of ", world.size(), " has the topology of rank ", topology.rank,
              " of ", topology.world);
  auto expert = world.split(topology.replica(), topology.expert_rank(), "ep");
  auto replicas = world.split(topology.expert_rank(), topology.replica(), "expert_replicas");
  return {world, std::move(expert), std::move(replicas)};
}

}  // namespace dsmoe::parallel
