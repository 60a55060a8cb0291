// The C++ side of safetensors_fuzz.py. On stdin file images, each behind its length as u64; on
// stdout a line for each: {"accept": {name: [dtype, shape, begin, end]}} with places in the file,
// or
// {"reject": message}. Anything but a CheckpointError ends the program.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "configs/errors.h"
#include "trainer/safetensors.h"

namespace {

using dsmoe::train::SafetensorsFile;
using nlohmann::json;

/// A file that exists in memory only, with a path to open it by.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("image", MFD_CLOEXEC)) {}
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

  void hold(const std::string& image) const {
    const auto bytes = static_cast<ssize_t>(image.size());
    if (::ftruncate(descriptor_, 0) != 0 ||
        ::pwrite(descriptor_, image.data(), image.size(), 0) != bytes) {
      throw std::runtime_error("cannot write an image");
    }
  }

 private:
  int descriptor_;
};

json verdict(const std::string& path) {
  try {
    const auto file = SafetensorsFile::open(path);
    json tensors = json::object();
    for (const std::string& name : file.names()) {
      const auto [begin, end] = file.byte_range(name);
      tensors[name] = {file.info(name).dtype, file.info(name).shape, begin, end};
    }
    return {{"accept", tensors}};
  } catch (const dsmoe::CheckpointError& error) {
    return {{"reject", error.what()}};
  }
}

bool read_image(std::istream& in, std::string& image) {
  uint64_t bytes = 0;
  if (!in.read(reinterpret_cast<char*>(&bytes), sizeof(bytes))) return false;
  image.resize(bytes);
  return static_cast<bool>(in.read(image.data(), static_cast<std::streamsize>(bytes)));
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  const MemoryFile file;
  for (std::string image; read_image(std::cin, image);) {
    file.hold(image);
    // Messages quote bytes of the image, UTF-8 or not.
    std::cout
        << verdict(file.path()).dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace)
        << '\n';
  }
}
