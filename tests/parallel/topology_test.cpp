#include "parallel/topology.h"

#include <string>
#include <vector>

#include "configs/errors.h"
#include "parallel/process_groups.h"
#include "tests/support/catch.h"
#include "tests/support/thread_world.h"

using dsmoe::ConfigError;
using dsmoe::parallel::experts_of;
using dsmoe::parallel::make_process_groups;
using dsmoe::parallel::make_topology;

namespace {

template <typename Call>
std::string config_error_of(const Call& call) {
  try {
    static_cast<void>(call());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

}  // namespace

TEST_CASE("the ranks of an expert-parallel group are consecutive") {
  const auto topology = make_topology(/*world=*/8, /*rank=*/5, /*expert_size=*/4);
  CHECK(topology.replicas() == 2);
  CHECK(topology.expert_rank() == 1);
  CHECK(topology.replica() == 1);
}

TEST_CASE("an expert size that does not divide the ranks is the user's error") {
  CHECK(config_error_of([] { return make_topology(4, 0, 3); }) ==
        "parallel.expert (3) must divide the number of ranks (4)\n"
        "hint: launch a multiple of 3 ranks, or set parallel.expert to a divisor of 4");
  CHECK(config_error_of([] {
          return make_topology(2, 1, 4);
        }).starts_with("parallel.expert (4) must divide the number of ranks (2)"));
  CHECK(config_error_of([] {
          return make_topology(4, 0, 0);
        }).starts_with("parallel.expert (0) must be at least 1"));
}

TEST_CASE("every expert lives on exactly one rank of a group") {
  const int64_t expert_size = GENERATE(1, 2, 4, 8);
  const auto topology = make_topology(8, 0, expert_size);
  int64_t next = 0;
  for (int64_t rank = 0; rank < expert_size; ++rank) {
    const auto experts = experts_of(topology, rank, 16);
    CHECK(experts.begin == next);
    CHECK(experts.size() == 16 / expert_size);
    next = experts.end;
  }
  CHECK(next == 16);
}

TEST_CASE("experts that cannot be shared equally are the user's error") {
  const auto topology = make_topology(4, 0, 4);
  CHECK(config_error_of([&] {
          return experts_of(topology, 0, 6);
        }).starts_with("parallel.expert (4) must divide model.n_routed_experts (6)"));
}

TEST_CASE("process groups agree with the topology on every rank") {
  const int64_t expert_size = GENERATE(1, 2, 4);
  struct Seen {
    int64_t expert_rank, expert_size, replica, replicas;
    std::string expert_name, replicas_name;
  };
  std::vector<Seen> seen(4);
  dsmoe::test::run_ranks(4, [&](dsmoe::parallel::Communicator& world) {
    const auto groups =
        make_process_groups(world, make_topology(world.size(), world.rank(), expert_size));
    seen[static_cast<size_t>(world.rank())] = {
        groups.expert->rank(),          groups.expert->size(), groups.expert_replicas->rank(),
        groups.expert_replicas->size(), groups.expert->name(), groups.expert_replicas->name()};
  });
  for (int64_t rank = 0; rank < 4; ++rank) {
    CAPTURE(rank, expert_size);
    const auto& of_rank = seen[static_cast<size_t>(rank)];
    CHECK(of_rank.expert_rank == rank % expert_size);
    CHECK(of_rank.expert_size == expert_size);
    CHECK(of_rank.replica == rank / expert_size);
    CHECK(of_rank.replicas == 4 / expert_size);
    CHECK(of_rank.expert_name == "ep");
    CHECK(of_rank.replicas_name == "expert_replicas");
  }
}
