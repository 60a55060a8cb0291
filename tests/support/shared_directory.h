#pragma once

#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "tests/support/temp_directory.h"
#include "trainer/agreement.h"

namespace dsmoe::test {

/// A new directory that the ranks of a world share. Rank 0 removes it at the end of its scope: who
/// still uses it there meets rank 0 before. Collective.
class SharedDirectory {
 public:
  explicit SharedDirectory(parallel::Communicator& world) {
    if (world.rank() == 0) path_ = own_.emplace().path();
    train::broadcast_text(path_, world);
  }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::optional<TempDirectory> own_;
  std::string path_;
};

}  // namespace dsmoe::test
