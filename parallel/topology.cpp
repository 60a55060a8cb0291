#include "parallel/topology.h"

#include <c10/util/Exception.h>

#include <string>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

std::string number(int64_t value) { return std::to_string(value); }

}  // namespace

Topology make_topology(int64_t world, int64_t rank, int64_t expert_size, int64_t stages,
                       int64_t ranks_per_node) {
  TORCH_CHECK(rank >= 0 && rank < world, "rank ", rank, " of a world of ", world);
  if (expert_size < 1) {
    throw ConfigError("parallel.expert (" + number(expert_size) + ") must be at least 1\n" +
                      "hint: 1 keeps every expert on every rank");
  }
  if (stages < 1) {
    throw ConfigError("parallel.pipeline (" + number(stages) + ") must be at least 1\n" +
                      "hint: 1 keeps every layer on every rank");
  }
  if (world % (stages * expert_size) != 0 && stages > 1) {
    throw ConfigError("parallel.pipeline (" + number(stages) + ") times parallel.expert (" +
                      number(expert_size) + ") must divide the number of ranks (" + number(world) +
                      ")\nhint: launch a multiple of " + number(stages * expert_size) + " ranks");
  }
  if (world % expert_size != 0) {
    throw ConfigError("parallel.expert (" + number(expert_size) +
                      ") must divide the number of ranks (" + number(world) + ")\n" +
                      "hint: launch a multiple of " + number(expert_size) +
                      " ranks, or set parallel.expert to a divisor of " + number(world));
  }
  if (ranks_per_node > 0 && expert_size % ranks_per_node != 0 &&
      ranks_per_node % expert_size != 0) {
    throw ConfigError("parallel.ranks_per_node (" + number(ranks_per_node) +
                      ") must divide parallel.expert (" + number(expert_size) +
                      ") or be a multiple of it\n" +
                      "hint: an expert group lies within a node or takes whole nodes");
  }
  return {world, rank, expert_size, stages, ranks_per_node};
}

ExpertRange experts_of(const Topology& topology, int64_t expert_rank, int64_t num_experts) {
  TORCH_CHECK(expert_rank >= 0 && expert_rank < topology.expert_size, "expert rank ", expert_rank,
              " of ", topology.expert_size);
  if (num_experts % topology.expert_size != 0) {
    throw ConfigError("parallel.expert (" + number(topology.expert_size) +
                      ") must divide model.n_routed_experts (" + number(num_experts) + ")\n" +
                      "hint: every rank holds the same number of experts");
  }
  const int64_t share = num_experts / topology.expert_size;
  return {expert_rank * share, (expert_rank + 1) * share};
}

}  // namespace dsmoe::parallel
