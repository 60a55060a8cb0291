#include "parallel/backends.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

const Backend* find_backend(const std::string& name) {
  const auto& all = backends();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Backend& backend) { return backend.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::string backend_names() {
  std::string names;
  for (const auto& backend : backends()) names += (names.empty() ? "" : ", ") + backend.name;
  return names;
}

}  // namespace

// Open MPI; MPICH, Intel MPI and Slurm's PMI; PMIx by itself.
Launcher find_launcher() {
  for (const char* variable : std::array{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const char* size = std::getenv(variable)) return {true, std::atoll(size)};
  }
  return {std::getenv("PMIX_RANK") != nullptr, 1};
}

std::string choose_backend(const std::string& requested, const Launcher& launcher) {
  const std::string name = requested != "auto" ? requested : (launcher.present ? "mpi" : "local");
  if (find_backend(name) == nullptr) {
    throw ConfigError(
        "parallel.backend: '" + name + "' is not in this build, which has: " + backend_names() +
        "\nhint: choose one of these, or configure with " + "-DDSMOE_BACKENDS=\"local;mpi\"");
  }
  if (name == "local" && launcher.size > 1) {
    throw ConfigError("parallel.backend: local, but " + std::to_string(launcher.size) +
                      " processes were launched, and each would run the whole job\n" +
                      "hint: set parallel.backend=mpi, or start without mpirun");
  }
  return name;
}

std::unique_ptr<World> start(const std::string& requested) {
  return find_backend(choose_backend(requested, find_launcher()))->start();
}

}  // namespace dsmoe::parallel
