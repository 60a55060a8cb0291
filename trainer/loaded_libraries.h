#pragma once

#include <map>
#include <string>

namespace dsmoe::train {

/// The shared libraries that this process computes and communicates with (LibTorch, OpenMP, MPI,
/// CUDA, NCCL): file name to the id of its build, in hexadecimal digits, or to "unknown" where the
/// file tells none. Local.
[[nodiscard]] std::map<std::string, std::string> loaded_libraries();

}  // namespace dsmoe::train
