#include "trainer/file_handle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "configs/errors.h"
#include "trainer/atomic_file.h"

namespace dsmoe::train {

FileHandle::FileHandle(std::string path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {}

FileHandle::FileHandle(FileHandle&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileHandle FileHandle::open(const std::string& path, int flags, const char* operation) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor < 0) throw_file_error(operation, path, errno);
  return FileHandle(path, descriptor);
}

FileHandle FileHandle::open_for_reading(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw CheckpointError("cannot read " + path + ": " + std::strerror(errno) +
                          "\nhint: check the path and the file's permissions");
  }
  FileHandle handle(path, descriptor);
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) throw_file_error("read", path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw CheckpointError("cannot read " + path + ": not a regular file\nhint: name a file");
  }
  return handle;
}

FileHandle FileHandle::create(const std::string& path) {
  return open(path, O_WRONLY | O_CREAT | O_TRUNC, "write");
}

FileHandle FileHandle::open_for_appending(const std::string& path) {
  return open(path, O_WRONLY | O_CREAT | O_APPEND, "append to");
}

int64_t FileHandle::size() const {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) throw_file_error("read the size of", path_, errno);
  return status.st_size;
}

void FileHandle::read_at(int64_t offset, void* data, size_t bytes) const {
  char* out = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, out, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("read", path_, errno);
    if (got == 0) {
      throw CheckpointError(path_ + ": ends at byte " + std::to_string(offset) + ", " +
                            std::to_string(bytes) + " bytes too early\nhint: copy the file again");
    }
    out += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

void FileHandle::write_at(int64_t offset, const void* data, size_t bytes) {
  const char* in = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(descriptor_, in, bytes, offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_file_error("write", path_, errno);
    in += put;
    offset += put;
    bytes -= static_cast<size_t>(put);
  }
}

void FileHandle::append(const void* data, size_t bytes) {
  const char* in = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor_, in, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_file_error("write", path_, errno);
    in += put;
    bytes -= static_cast<size_t>(put);
  }
}

void FileHandle::sync() {
  if (::fsync(descriptor_) != 0) throw_file_error("sync", path_, errno);
}

}  // namespace dsmoe::train
