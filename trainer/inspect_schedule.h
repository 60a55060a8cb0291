#pragma once

#include <cstdint>
#include <string>

namespace dsmoe::train {

/// What `dsmoe inspect --schedule` is asked for.
struct ScheduleQuestion {
  std::string kind;  ///< gpipe | 1f1b | zb_h1 | interleaved
  int64_t stages = 4;
  int64_t micro_batches = 8;
  int64_t chunks = 1;
  double put_off = 1;  ///< share of what zb_h1 puts off
  std::string svg;     ///< a file to write the picture to; empty: none

  bool operator==(const ScheduleQuestion&) const = default;
};

/// The schedule drawn, its idle time beside the published one (of which there is none where less is
/// put off than the published schedule does) and the activations that stages keep;
/// every pass costs the same. Throws ConfigError on a schedule or shape that is not there. Local.
[[nodiscard]] std::string inspect_schedule(const ScheduleQuestion& question, bool json);

}  // namespace dsmoe::train
