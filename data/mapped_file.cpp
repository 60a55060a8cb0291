#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw DataError(path + ": " + reason +
                  "\nhint: data paths are relative to the working directory; tokens are a pair of "
                  "files, PREFIX.bin and PREFIX.idx");
}

/// An open file, closed at the end of the scope: a mapping outlives its descriptor.
class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number_ < 0) refuse(path, std::strerror(errno));
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] size_t size(const std::string& path) const {
    struct stat status{};
    if (::fstat(number_, &status) != 0) refuse(path, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) refuse(path, "not a regular file");
    return static_cast<size_t>(status.st_size);
  }

 private:
  int number_;
};

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  const Descriptor file(path_);
  const size_t size = file.size(path_);
  if (size == 0) return;
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), /*offset=*/0);
  if (memory == MAP_FAILED) {
    throw IoError("cannot map the " + std::to_string(size) + " bytes of " + path_ + ": " +
                  std::strerror(errno));
  }
  bytes_ = {static_cast<const std::byte*>(memory), size};
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace dsmoe::data
