#include "trainer/same_program.h"

#include <ATen/Version.h>

#include <array>
#include <string>

#include "configs/errors.h"
#include "data/fingerprint.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/placement.h"

namespace dsmoe::train {
namespace {

std::string fingerprint_of(const std::string& text) {
  data::Fingerprint fingerprint;
  fingerprint.add(text);
  return fingerprint.hex();
}

/// What must be the same on all ranks, with what it is called in a message.
struct Trait {
  std::string name;
  std::string value;
};

/// at::get_mkl_version and the like change with the build, not with the CPU that it runs on.
std::array<Trait, 2> traits() {
  return {{{"program file", fingerprint_of(read_file("/proc/self/exe"))},
           {"LibTorch build", fingerprint_of(at::get_mkl_version() + at::get_mkldnn_version() +
                                             at::get_openmp_version() + at::get_cxx_flags())}}};
}

}  // namespace

void check_same_program(parallel::Communicator& world) {
  if (world.size() == 1) return;
  for (const Trait& mine : traits()) {
    std::string first = mine.value, host = host_name();
    broadcast_text(first, world);
    broadcast_text(host, world);
    agree(world, [&] {
      if (mine.value == first) return;
      throw ConfigError("rank " + std::to_string(world.rank()) + " on " + host_name() +
                        " has another " + mine.name + " than rank 0 on " + host + ": " +
                        mine.value + ", " + first +
                        "\nhint: start the same build on every host, from the same place");
    });
  }
}

}  // namespace dsmoe::train
