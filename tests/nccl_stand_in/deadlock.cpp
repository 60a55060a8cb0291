// Streams whose first entries wait for what stands behind each other's first entries.
#include <algorithm>

#include "hub.h"

namespace nccl_stand_in {
namespace {

using Path = std::vector<CUstream_st*>;

/// The streams without which the first entry of this one cannot end.
Path needed_by(const CUstream_st& stream) {
  Path needed;
  if (stream.tasks.empty()) return needed;
  const Task& head = stream.tasks.front();
  if (head.awaited && !head.awaited->done) needed.push_back(head.awaited->stream);
  for (const auto& operation : head.operations) {
    if (is_over(*operation)) continue;
    for (const auto& other : partners(*operation)) {
      if (other && !other->arrived && !is_over(*other)) needed.push_back(other->stream);
    }
  }
  return needed;
}

/// Fills `path` with a circle through its first stream; false where there is none.
bool closes(Path& path, Path& seen) {
  for (CUstream_st* next : needed_by(*path.back())) {
    if (next == path.front()) return true;
    if (std::find(seen.begin(), seen.end(), next) != seen.end()) continue;
    seen.push_back(next);
    path.push_back(next);
    if (closes(path, seen)) return true;
    path.pop_back();
  }
  return false;
}

std::string story(const Path& circle) {
  std::string text = "streams wait for each other:";
  for (const CUstream_st* stream : circle) {
    for (const auto& operation : stream->tasks.front().operations) {
      if (!is_over(*operation)) text += " " + describe(*operation) + ";";
    }
  }
  return text + " messages that depend on each other belong into one group";
}

}  // namespace

void look_for_deadlock(CUstream_st& stream) {
  Path path{&stream}, seen{&stream};
  if (!closes(path, seen)) return;
  const std::string reason = story(path);
  for (const CUstream_st* member : path) {
    for (const auto& operation : member->tasks.front().operations) {
      fail(*operation->comm, ncclInvalidUsage, reason);
    }
  }
}

}  // namespace nccl_stand_in
