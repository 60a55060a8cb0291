#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/world.h"

namespace dsmoe::parallel {

/// A way for ranks to reach each other. The list is made by CMake (DSMOE_BACKENDS).
struct Backend {
  std::string name;
  std::unique_ptr<World> (*start)();
};
[[nodiscard]] const std::vector<Backend>& backends();

/// What mpirun, srun and their like leave in the environment.
struct Launcher {
  bool present = false;
  int64_t size = 1;  ///< 1 when the launcher does not say
};
[[nodiscard]] Launcher find_launcher();

/// The backend for `parallel.backend: requested`. "auto" is mpi under a launcher, else local.
/// Throws ConfigError for a name that is not built in, listing those that are, and for local
/// under a launcher of several processes, which would each run the whole job.
[[nodiscard]] std::string choose_backend(const std::string& requested, const Launcher& launcher);

/// Joins the job. Once per process, before any other thread starts.
[[nodiscard]] std::unique_ptr<World> start(const std::string& requested);

}  // namespace dsmoe::parallel
