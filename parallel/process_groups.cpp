#include "parallel/process_groups.h"

#include <c10/util/Exception.h>

#include <utility>

namespace dsmoe::parallel {

ProcessGroups make_process_groups(Communicator& world, const Topology& topology) {
  TORCH_CHECK(world.size() == topology.world && world.rank() == topology.rank, "rank ",
              world.rank(), " of ", world.size(), " has the topology of rank ", topology.rank,
              " of ", topology.world);
  ProcessGroups groups{world, {}, {}, {}, {}, {}, {}, {}};
  groups.data = world.split(topology.stage(), topology.data_rank(), "data");
  groups.expert = groups.data->split(topology.replica(), topology.expert_rank(), "ep");
  if (topology.experts_span_nodes()) {
    const int64_t node = topology.expert_rank() / topology.ranks_per_node;
    const int64_t place = topology.expert_rank() % topology.ranks_per_node;
    groups.expert_across = groups.expert->split(place, node, "ep_across");
    groups.expert_within = groups.expert->split(node, place, "ep_within");
  }
  groups.expert_replicas =
      groups.data->split(topology.expert_rank(), topology.replica(), "expert_replicas");
  groups.forward = world.split(topology.data_rank(), topology.stage(), "pipeline_forward");
  groups.backward = world.split(topology.data_rank(), topology.stage(), "pipeline_backward");
  return groups;
}

}  // namespace dsmoe::parallel
