#include "trainer/loaded_libraries.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dsmoe::train {
namespace {

// Others do not touch numbers or messages, or are chosen by the machine: drivers, plug-ins of MPI.
constexpr std::array<std::string_view, 10> kCompared{
    "libtorch",    "libc10",  "libgomp",   "libmpi.",   "libopen-pal",
    "libopen-rte", "libnccl", "libcudart", "libcublas", "libcudnn"};

bool is_compared(std::string_view name) {
  return std::any_of(kCompared.begin(), kCompared.end(),
                     [&](std::string_view start) { return name.substr(0, start.size()) == start; });
}

std::string hex(const unsigned char* bytes, size_t count) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

/// Of one segment of notes; each is a header, a name and a description, padded to four bytes.
std::string build_id(const unsigned char* at, size_t size) {
  const auto padded = [](size_t bytes) { return (bytes + 3) / 4 * 4; };
  ElfW(Nhdr) note;
  for (const unsigned char* end = at + size; at + sizeof note <= end;) {
    std::memcpy(&note, at, sizeof note);
    const unsigned char* const name = at + sizeof note;
    const unsigned char* const description = name + padded(note.n_namesz);
    at = description + padded(note.n_descsz);
    if (at > end) break;
    const bool gnu = note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0;
    if (gnu && note.n_type == NT_GNU_BUILD_ID) return hex(description, note.n_descsz);
  }
  return "";
}

int add_library(dl_phdr_info* info, size_t /*size*/, void* libraries) {
  const std::string path = info->dlpi_name;
  const std::string name = path.substr(path.rfind('/') + 1);
  if (!is_compared(name)) return 0;
  std::string id = "unknown";
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* notes =
        reinterpret_cast<const unsigned char*>(info->dlpi_addr + segment.p_vaddr);  // as loaded
    const std::string found = build_id(notes, segment.p_memsz);
    if (!found.empty()) id = found;
  }
  (*static_cast<std::map<std::string, std::string>*>(libraries))[name] = id;
  return 0;
}

}  // namespace

std::map<std::string, std::string> loaded_libraries() {
  std::map<std::string, std::string> libraries;
  dl_iterate_phdr(add_library, &libraries);
  return libraries;
}

}  // namespace dsmoe::train
