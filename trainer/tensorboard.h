#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/file_handle.h"

namespace dsmoe::train {

/// Scalars as TensorBoard reads them. An event file is a row of TFRecords,
///
///     u64 length | u32 masked crc32c(length) | bytes | u32 masked crc32c(bytes)
///
/// each the protocol buffer Event {double wall_time = 1; int64 step = 2; string file_version = 3;
/// Summary summary = 5; SessionLog session_log = 7}, with Summary {repeated Value {string tag = 1;
/// float simple_value = 2} value = 1}. Values are single precision: metrics.jsonl has them whole.
class TensorBoardWriter {
 public:
  /// Makes the directory and a new event file in it. Points of an earlier run at `first_step` and
  /// later are dropped by the reader. Throws as throw_file_error.
  TensorBoardWriter(const std::string& directory, int64_t first_step);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  /// One event; in the file when this returns.
  void add_scalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void write_event(const std::string& event);

  FileHandle file_;
};

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4.
[[nodiscard]] uint32_t crc32c(std::string_view bytes);

}  // namespace dsmoe::train
