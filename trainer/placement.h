#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/table.h"

namespace dsmoe::train {

/// The machine a rank runs on and the cores that it may use there.
struct Placement {
  std::string host;            ///< its name
  std::string machine;         ///< what tells it from others of that name
  std::vector<int64_t> cores;  ///< ascending

  bool operator==(const Placement&) const = default;
};

/// The name of this machine; "?" where it has none.
[[nodiscard]] std::string host_name();

/// Of this process.
[[nodiscard]] Placement own_placement();

/// Whether the environment binds each thread to cores of its own choice (OMP_PROC_BIND and its
/// like): the process's own cores then are those of its first thread alone.
[[nodiscard]] bool threads_placed_by_user();

/// Of every rank. Collective.
[[nodiscard]] std::vector<Placement> gather_placements(parallel::Communicator& world);

/// Ranks, this one included, that may use one of its cores; no more than on_host, as the launcher
/// counts them.
[[nodiscard]] int64_t ranks_on_cores_of(const std::vector<Placement>& placements, int64_t rank,
                                        int64_t on_host);

/// Nodes, each of which has as many consecutive ranks.
struct NodeShape {
  int64_t nodes = 1;
  int64_t ranks_per_node = 1;

  bool operator==(const NodeShape&) const = default;
};

/// Of the machines that the ranks lie on. Throws UserError where their numbers of ranks differ or
/// ranks of one are not consecutive.
[[nodiscard]] NodeShape node_shape(const std::vector<Placement>& placements);

/// A row for each run of ranks on the same cores: host, cores, threads. threads: of each rank.
void add_placement_rows(Table& table, const std::vector<Placement>& placements,
                        const std::vector<int64_t>& threads);

/// 0-3,8 for 0 1 2 3 8.
[[nodiscard]] std::string ranges_text(const std::vector<int64_t>& numbers);

}  // namespace dsmoe::train
