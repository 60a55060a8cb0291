#include "parallel/backends.h"

#include <algorithm>
#include <string>

#include "configs/errors.h"
#include "tests/support/catch.h"

using dsmoe::ConfigError;
using dsmoe::parallel::choose_backend;

namespace {

std::string config_error_of(const std::string& requested, int64_t launched) {
  try {
    static_cast<void>(choose_backend(requested, {launched > 0, launched}));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

}  // namespace

TEST_CASE("auto is mpi under a launcher and local without one") {
  CHECK(choose_backend("auto", {false, 1}) == "local");
  const auto& built = dsmoe::parallel::backends();
  if (std::none_of(built.begin(), built.end(), [](const auto& b) { return b.name == "mpi"; })) {
    CHECK(config_error_of("auto", 8).starts_with("parallel.backend: 'mpi' is not in this build"));
    return;
  }
  CHECK(choose_backend("auto", {true, 1}) == "mpi");
  CHECK(choose_backend("auto", {true, 8}) == "mpi");
}

TEST_CASE("an unknown backend is an error that lists those in the build") {
  const auto message = config_error_of("nccl", 0);
  CHECK(message.starts_with("parallel.backend: 'nccl' is not in this build, which has: local"));
  CHECK(message.find("\nhint: ") != std::string::npos);
}

TEST_CASE("local under a launcher of several processes is an error with their number") {
  CHECK(config_error_of("local", 4).starts_with("parallel.backend: local, but 4 processes"));
  CHECK(config_error_of("local", 1) == "no ConfigError");
}

TEST_CASE("the local world is one rank alone on its host") {
  const auto world = dsmoe::parallel::start("local");
  CHECK(world->communicator().size() == 1);
  CHECK(world->communicator().name() == "world");
  CHECK(world->ranks_on_host() == 1);
}
