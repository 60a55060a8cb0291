#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace dsmoe::data {

/// A file's bytes as memory, read-only, for as long as the object lives; pages come from disk when
/// they are touched and are shared between processes. The size is that at opening.
/// A file that is made shorter meanwhile kills the process by SIGBUS where the lost part is
/// touched, and one that is overwritten changes under the reader: replace such files by renaming
/// another over them, as TokenFileWriter does.
class MappedFile {
 public:
  /// Throws DataError when there is no regular file to read at `path`, IoError when it cannot be
  /// mapped.
  explicit MappedFile(std::string path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(bytes_.size()); }

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace dsmoe::data
