#include "trainer/tensorboard.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "trainer/atomic_file.h"

namespace dsmoe::train {
namespace {

enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t kWallTime = 1;
constexpr uint32_t kStep = 2;
constexpr uint32_t kFileVersion = 3;
constexpr uint32_t kSummary = 5;
constexpr uint32_t kSessionLog = 7;

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7U) bytes += static_cast<char>((value & 127U) | 128U);
  return bytes += static_cast<char>(value);
}

std::string tag(uint32_t field, Wire wire) {
  return varint((field << 3U) | static_cast<uint32_t>(wire));
}

std::string bytes_field(uint32_t field, const std::string& bytes) {
  return tag(field, Wire::kBytes) + varint(bytes.size()) + bytes;
}

std::string varint_field(uint32_t field, int64_t value) {
  return tag(field, Wire::kVarint) + varint(static_cast<uint64_t>(value));
}

/// Seconds since 1970.
double wall_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string event(int64_t step, const std::string& content) {
  return tag(kWallTime, Wire::kFixed64) + raw(wall_time()) + varint_field(kStep, step) + content;
}

std::string summary_value(const std::string& name, double value) {
  const std::string scalar =
      bytes_field(1, name) + tag(2, Wire::kFixed32) + raw(static_cast<float>(value));
  return bytes_field(1, scalar);
}

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kPolynomial = 0x82F63B78;  // Castagnoli, bits reversed
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

/// As TFRecord stores it, so that a checksum of checksums stays useful.
std::string masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return raw(((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U);
}

/// A name that no other process or session has; readers take the files in order of their names.
std::string event_path(const std::string& directory) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const std::string stem = directory + "/events.out.tfevents." +
                           std::to_string(static_cast<int64_t>(wall_time())) + "." + host.data() +
                           "." + std::to_string(::getpid()) + ".";
  int64_t number = 0;
  while (std::filesystem::exists(stem + std::to_string(number))) ++number;
  return stem + std::to_string(number);
}

FileHandle create_event_file(const std::string& directory) {
  make_directories(directory);
  return FileHandle::create(event_path(directory));
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  constexpr std::array<uint32_t, 256> kTable = make_crc_table();
  uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 255U] ^ (crc >> 8U);
  }
  return ~crc;
}

TensorBoardWriter::TensorBoardWriter(const std::string& directory, int64_t first_step)
    : file_(create_event_file(directory)) {
  constexpr int64_t kStart = 1;  // SessionLog.SessionStatus.START
  write_event(event(/*step=*/0, bytes_field(kFileVersion, "brain.Event:2")));
  write_event(event(first_step, bytes_field(kSessionLog, varint_field(1, kStart))));
}

void TensorBoardWriter::add_scalars(int64_t step,
                                    const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) summary += summary_value(name, value);
  write_event(event(step, bytes_field(kSummary, summary)));
}

void TensorBoardWriter::write_event(const std::string& event) {
  const std::string length = raw(static_cast<uint64_t>(event.size()));
  const std::string record = length + masked_crc(length) + event + masked_crc(event);
  file_.append(record.data(), record.size());
}

}  // namespace dsmoe::train
