#include "trainer/newest_checkpoint.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/manifest.h"

namespace dsmoe::train {
namespace {

std::string without_hint(const std::string& message) {
  return message.substr(0, message.find("\nhint: "));
}

/// Rank 0's names, newest first: file systems need not show all ranks the same.
std::vector<std::string> candidates(const std::string& checkpoints, parallel::Communicator& world) {
  std::string text;
  if (world.rank() == 0) {
    for (const int64_t step : steps_in(checkpoints)) text += step_directory_name(step) + " ";
  }
  broadcast_text(text, world);
  std::istringstream names(text);
  return {std::istream_iterator<std::string>(names), {}};
}

std::string own_damage(const std::string& path, ReadersShare share) {
  try {
    verify(path, "", share);
    return "";
  } catch (const UserError& error) {
    return "skipped a damaged checkpoint: " + without_hint(error.what());
  } catch (const IoError& error) {
    return std::string("skipped an unreadable checkpoint: ") + error.what();
  }
}

/// What the lowest rank that finds fault says, on all ranks; empty: nothing.
std::string damage(const std::string& path, parallel::Communicator& world) {
  std::string own = own_damage(path, {world.rank(), world.size()});
  const std::vector<int64_t> found = gather_number(own.empty() ? 0 : 1, world);
  const auto first = std::find(found.begin(), found.end(), 1);
  if (first == found.end()) return "";
  broadcast_text(own, world, first - found.begin());
  return own;
}

}  // namespace

std::optional<std::string> newest_complete(const std::string& checkpoints,
                                           std::vector<std::string>& warnings,
                                           parallel::Communicator& world) {
  for (const std::string& name : candidates(checkpoints, world)) {
    const std::string path = checkpoints + "/" + name;
    const std::string found = damage(path, world);
    if (found.empty()) return path;
    warnings.push_back(found);
  }
  return std::nullopt;
}

}  // namespace dsmoe::train
