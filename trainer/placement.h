#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/table.h"

namespace dsmoe::train {

/// The machine a rank runs on and the cores that it may use there.
struct Placement {
  std::string host;
  std::vector<int64_t> cores;  ///< ascending

  bool operator==(const Placement&) const = default;
};

/// Of this process.
[[nodiscard]] Placement own_placement();

/// Of every rank. Collective.
[[nodiscard]] std::vector<Placement> gather_placements(parallel::Communicator& world);

/// Ranks, this one included, that may use one of its cores; no more than on_host, since two
/// machines may have one name.
[[nodiscard]] int64_t ranks_on_cores_of(const std::vector<Placement>& placements, int64_t rank,
                                        int64_t on_host);

/// A row for each run of ranks on the same cores: host, cores, threads. threads: of each rank.
void add_placement_rows(Table& table, const std::vector<Placement>& placements,
                        const std::vector<int64_t>& threads);

/// 0-3,8 for 0 1 2 3 8.
[[nodiscard]] std::string ranges_text(const std::vector<int64_t>& numbers);

}  // namespace dsmoe::train
