// The ranks of a run look through a checkpoint together, each a part of its files.
#include "trainer/newest_checkpoint.h"

#include <filesystem>

#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"
#include "tests/support/shared_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/manifest.h"

namespace dsmoe::test {
namespace {

constexpr const char* kFiles = "abcde";

void save(const std::string& checkpoints, int64_t step) {
  const std::string staging = train::make_staging_directory(checkpoints, step);
  for (const char* name = kFiles; *name != 0; ++name) {
    train::write_file_atomically(staging + "/" + std::string(1, *name), "whole");
  }
  train::write_manifest(staging, {step, "", 1, 1, 1, 1, train::record_files(staging)});
  train::publish(checkpoints, step);
}

/// Whichever rank reads the damaged file, all say the same.
Failures damage_is_found_by_its_reader(parallel::Communicator& world) {
  Checks checks;
  for (const char* name = kFiles; *name != 0; ++name) {
    const SharedDirectory directory(world);
    const std::string& path = directory.path();
    if (world.rank() == 0) {
      for (const int64_t step : {100, 200}) save(path, step);
      train::write_file_atomically(path + "/step-00000200/" + *name, "other");
    }
    world.barrier();
    std::vector<std::string> warnings;
    const auto found = train::newest_complete(path, warnings, world);
    checks.that(found == path + "/step-00000100", "the one that is whole");
    checks.equal(static_cast<int64_t>(warnings.size()), int64_t{1}, "warnings");
    for (const std::string& warning : warnings) {
      checks.that(warning.find(std::string("step-00000200/") + *name) != std::string::npos,
                  "of the damaged file: " + warning);
    }
    world.barrier();
  }
  return checks.failures();
}

const bool registered =
    register_rank_case("checkpoint: ranks share its verification", damage_is_found_by_its_reader);

}  // namespace
}  // namespace dsmoe::test
