#pragma once

#include <algorithm>
#include <cstdint>

namespace dsmoe::parallel {

/// Who of how many: a rank of a group that shares out what all its members would hold alike.
struct Member {
  int64_t rank = 0;
  int64_t size = 1;
};

/// The numbers begin .. end - 1 of some: one member's part. Parts are consecutive in rank order,
/// and equally long but for the last ones, which may be shorter or empty.
struct Share {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t longest = 0;  ///< of any member

  [[nodiscard]] int64_t size() const { return end - begin; }
};

[[nodiscard]] inline Share share_of(int64_t count, const Member& member) {
  const int64_t longest = (count + member.size - 1) / member.size;
  const int64_t begin = std::min(member.rank * longest, count);
  return {begin, std::min(begin + longest, count), longest};
}

/// The next multiple: room in which all parts are equally long.
[[nodiscard]] inline int64_t padded(int64_t count, const Member& member) {
  return share_of(count, member).longest * member.size;
}

}  // namespace dsmoe::parallel
