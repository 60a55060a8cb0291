#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dsmoe::train {

/// An open file, closed on destruction. Reads and writes are positioned and whole: a short one goes
/// on, or throws.
class FileHandle {
 public:
  /// Throws CheckpointError when there is nothing to read at `path`.
  [[nodiscard]] static FileHandle open_for_reading(const std::string& path);
  /// Creates or empties `path`. Throws as throw_file_error.
  [[nodiscard]] static FileHandle create(const std::string& path);
  /// Creates `path` or goes on at its end. Throws as throw_file_error.
  [[nodiscard]] static FileHandle open_for_appending(const std::string& path);

  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  ~FileHandle();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int64_t size() const;
  /// Throws CheckpointError when the file ends before `bytes` are read.
  void read_at(int64_t offset, void* data, size_t bytes) const;
  void write_at(int64_t offset, const void* data, size_t bytes);
  /// Writes at the end of the file; for handles of open_for_appending and create.
  void append(const void* data, size_t bytes);
  void sync();

 private:
  FileHandle(std::string path, int descriptor);
  static FileHandle open(const std::string& path, int flags, const char* operation);

  std::string path_;
  int descriptor_ = -1;
};

}  // namespace dsmoe::train
