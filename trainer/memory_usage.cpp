#include "trainer/memory_usage.h"

#include <fstream>
#include <string>
#include <string_view>

namespace dsmoe::train {
namespace {

/// A line such as `VmRSS:     1234 kB`, whose unit is always KiB (proc(5)).
int64_t status_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, key.size(), key) == 0) return std::stoll(line.substr(key.size())) * 1024;
  }
  return 0;
}

}  // namespace

int64_t resident_bytes() { return status_bytes("VmRSS:"); }
int64_t peak_resident_bytes() { return status_bytes("VmHWM:"); }

}  // namespace dsmoe::train
