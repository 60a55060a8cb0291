#include "trainer/placement.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "configs/errors.h"
#include "trainer/agreement.h"

namespace dsmoe::train {
namespace {

std::vector<int64_t> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int64_t> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int64_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

/// Two machines may have one name, but were not started as one.
std::string machine_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id.empty() ? host_name() : id;
}

/// The host, the machine, then the cores.
std::string to_text(const Placement& placement) {
  std::string text = placement.host + " " + placement.machine;
  for (const int64_t core : placement.cores) text += " " + std::to_string(core);
  return text;
}

Placement from_text(const std::string& text) {
  std::istringstream words(text);
  Placement placement;
  words >> placement.host >> placement.machine;
  for (int64_t core = 0; words >> core;) placement.cores.push_back(core);
  return placement;
}

bool share_cores(const Placement& a, const Placement& b) {
  if (a.machine != b.machine) return false;
  return std::any_of(a.cores.begin(), a.cores.end(), [&](int64_t core) {
    return std::binary_search(b.cores.begin(), b.cores.end(), core);
  });
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  const bool known = gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0';
  return known ? name.data() : "?";
}

bool threads_placed_by_user() {
  const std::array names{"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"};
  return std::any_of(names.begin(), names.end(),
                     [](const char* name) { return std::getenv(name) != nullptr; });
}

Placement own_placement() { return {host_name(), machine_id(), usable_cores()}; }

std::vector<Placement> gather_placements(parallel::Communicator& world) {
  std::vector<Placement> placements;
  for (const std::string& text : gather_texts(to_text(own_placement()), world)) {
    placements.push_back(from_text(text));
  }
  return placements;
}

int64_t ranks_on_cores_of(const std::vector<Placement>& placements, int64_t rank, int64_t on_host) {
  const Placement& own = placements[static_cast<size_t>(rank)];
  const int64_t sharing =
      std::count_if(placements.begin(), placements.end(),
                    [&](const Placement& other) { return share_cores(own, other); });
  return std::max<int64_t>(1, std::min(sharing, on_host));
}

NodeShape node_shape(const std::vector<Placement>& placements) {
  std::vector<int64_t> runs;  // of ranks on one machine
  std::set<std::string> machines;
  for (size_t r = 0; r < placements.size(); ++r) {
    if (r == 0 || placements[r].machine != placements[r - 1].machine) runs.push_back(0);
    ++runs.back();
    machines.insert(placements[r].machine);
  }
  const std::string hint =
      "\nhint: as many consecutive ranks on each machine, as mpirun --map-by slot places them";
  if (runs.size() > machines.size()) {
    throw UserError(std::to_string(machines.size()) + " machines have " +
                    std::to_string(runs.size()) +
                    " runs of ranks: those of one are not consecutive" + hint);
  }
  for (const int64_t ranks : runs) {
    if (ranks == runs[0]) continue;
    throw UserError("one machine has " + std::to_string(runs[0]) + " ranks, another has " +
                    std::to_string(ranks) + hint);
  }
  return {static_cast<int64_t>(runs.size()), runs.empty() ? 1 : runs[0]};
}

std::string ranges_text(const std::vector<int64_t>& numbers) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    text += (text.empty() ? "" : ",") + std::to_string(numbers[begin]);
    if (end - begin > 1) text += "-" + std::to_string(numbers[end - 1]);
  }
  return text;
}

void add_placement_rows(Table& table, const std::vector<Placement>& placements,
                        const std::vector<int64_t>& threads) {
  for (size_t begin = 0, end = 0; begin < placements.size(); begin = end) {
    end = begin + 1;
    while (end < placements.size() && placements[end] == placements[begin] &&
           threads[end] == threads[begin]) {
      ++end;
    }
    std::vector<int64_t> ranks;
    for (size_t r = begin; r < end; ++r) ranks.push_back(static_cast<int64_t>(r));
    table.row((end - begin > 1 ? "ranks " : "rank ") + ranges_text(ranks),
              placements[begin].host + ", cores " + ranges_text(placements[begin].cores) + ", " +
                  std::to_string(threads[begin]) + (threads[begin] == 1 ? " thread" : " threads") +
                  (end - begin > 1 ? " each" : ""));
  }
}

}  // namespace dsmoe::train
