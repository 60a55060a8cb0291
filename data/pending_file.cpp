#include "data/pending_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

bool user_can_mend(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case ENAMETOOLONG:
      return true;
    default:
      return false;
  }
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

PendingFile::PendingFile(std::string path)
    : path_(std::move(path)), temporary_(path_ + ".tmp" + std::to_string(::getpid())) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("create", errno);
  buffer_.reserve(kBufferBytes);
}

PendingFile::~PendingFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!published_) std::remove(temporary_.c_str());
}

void PendingFile::fail(const std::string& operation, int error) const {
  const std::string message =
      "cannot " + operation + " " + temporary_ + ": " + std::strerror(error);
  if (!user_can_mend(error)) throw IoError(message);
  throw DataError(message +
                  "\nhint: check that the folder exists and who may write there, or "
                  "choose another output");
}

void PendingFile::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void PendingFile::flush() {
  std::span<const std::byte> rest(buffer_);
  while (!rest.empty()) {
    const ssize_t put = ::write(descriptor_, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("write", errno);
    rest = rest.subspan(static_cast<size_t>(put));
  }
  buffer_.clear();
}

void PendingFile::sync() {
  flush();
  if (::fsync(descriptor_) != 0) fail("sync", errno);
}

void PendingFile::publish() {
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename", errno);
  published_ = true;
}

void PendingFile::sync_folder() const {
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail("open the folder of", errno);
  const int error = ::fsync(folder) == 0 ? 0 : errno;
  ::close(folder);
  if (error != 0) fail("sync the folder of", error);
}

}  // namespace dsmoe::data
