#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace dsmoe::data {

/// A file under construction: written as PATH.tmpPID, it stands under its own name only after
/// publish(). Removed on destruction when it was not published; a process that is killed outright
/// leaves the temporary file. All functions throw DataError with a hint where the user can mend the
/// cause (no such folder, no permission), else IoError.
class PendingFile {
 public:
  explicit PendingFile(std::string path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Appends, through a buffer of 1 MiB.
  void write(std::span<const std::byte> bytes);
  /// Everything written so far is on disk.
  void sync();
  /// Renames over whatever stands there. Call sync() first, sync_folder() afterwards.
  void publish();
  /// Makes the new name durable.
  void sync_folder() const;

 private:
  void flush();
  [[noreturn]] void fail(const std::string& operation, int error) const;

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
  bool published_ = false;
  std::vector<std::byte> buffer_;
};

}  // namespace dsmoe::data
