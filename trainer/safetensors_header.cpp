#include "trainer/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/strict_json.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

constexpr const char* kMetadata = "__metadata__";

struct Dtype {
  std::string_view name;
  int64_t bits;
};

// Ascending, in the order of the reference's enum, whose descending order its writer uses.
constexpr std::array<Dtype, 22> kDtypes = {
    {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
     {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
     {"I64", 64},        {"U64", 64}}};

[[noreturn]] void reject(const std::string& path, const std::string& tensor,
                         const std::string& what) {
  reject_file(path, "tensor '" + tensor + "': " + what);
}

int64_t count_of(const json& value, const std::string& path, const std::string& tensor,
                 const char* key) {
  constexpr uint64_t kLimit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kLimit) {
    reject(path, tensor, std::string(key) + " holds " + value.dump() + ", not a count");
  }
  return value.get<int64_t>();
}

std::vector<int64_t> counts_of(const json& entry, const std::string& path,
                               const std::string& tensor, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) {
    reject(path, tensor, std::string(key) + " is missing or not a list");
  }
  std::vector<int64_t> counts;
  for (const json& value : *found) counts.push_back(count_of(value, path, tensor, key));
  return counts;
}

std::string dtype_of(const json& entry, const std::string& path, const std::string& tensor) {
  const auto found = entry.find("dtype");
  if (found == entry.end() || !found->is_string()) reject(path, tensor, "dtype is missing");
  const std::string dtype = found->get<std::string>();
  if (dtype_bits(dtype) == 0) reject(path, tensor, "unknown dtype " + dtype);
  return dtype;
}

/// Bytes of a tensor of this shape and dtype.
int64_t bytes_of(const TensorInfo& info, const std::string& path, const std::string& tensor) {
  int64_t bits = dtype_bits(info.dtype);
  bool overflow = false;
  bool empty = false;
  for (const int64_t size : info.shape) {
    overflow |= __builtin_mul_overflow(bits, std::max<int64_t>(size, 1), &bits);
    empty |= size == 0;
  }
  if (overflow) reject(path, tensor, "the shape overflows 64 bits");
  if (empty) return 0;
  if (bits % 8 != 0) reject(path, tensor, "the elements do not fill whole bytes");
  return bits / 8;
}

TensorInfo info_of(const json& entry, const std::string& path, const std::string& tensor) {
  if (!entry.is_object()) reject(path, tensor, "its entry is not an object");
  TensorInfo info;
  info.dtype = dtype_of(entry, path, tensor);
  info.shape = counts_of(entry, path, tensor, "shape");
  const std::vector<int64_t> offsets = counts_of(entry, path, tensor, "data_offsets");
  if (offsets.size() != 2) reject(path, tensor, "data_offsets are not two numbers");
  info.begin = offsets[0];
  info.end = offsets[1];
  const int64_t bytes = bytes_of(info, path, tensor);
  if (info.begin > info.end || info.end - info.begin != bytes) {
    reject(path, tensor,
           "data_offsets [" + std::to_string(info.begin) + ", " + std::to_string(info.end) +
               "] do not hold the " + std::to_string(bytes) + " bytes of its shape");
  }
  return info;
}

std::map<std::string, std::string> metadata_of(const json& entry, const std::string& path) {
  std::map<std::string, std::string> metadata;
  if (!entry.is_object()) reject_file(path, "__metadata__ is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) reject_file(path, "__metadata__ '" + key + "' is not a string");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// No holes, no overlap, nothing before and nothing after.
void check_coverage(const SafetensorsHeader& header, int64_t data_bytes, const std::string& path) {
  struct Range {
    int64_t begin;
    int64_t end;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const auto& [name, info] : header.tensors) ranges.push_back({info.begin, info.end, &name});
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t covered = 0;
  for (const Range& range : ranges) {
    if (range.begin != covered) {
      reject(path, *range.name,
             "its data begin at " + std::to_string(range.begin) + " where " +
                 std::to_string(covered) + (range.begin > covered ? ", a hole" : ", an overlap"));
    }
    covered = range.end;
  }
  if (covered != data_bytes) {
    reject_file(path, "holds " + std::to_string(data_bytes) +
                          " bytes of data, its header describes " + std::to_string(covered));
  }
}

[[noreturn]] void reject_length(const std::string& path, const std::string& what) {
  throw CheckpointError(path + ": " + what +
                        "\nhint: the file is cut short or no safetensors file; copy it again");
}

}  // namespace

int64_t safetensors_header_bytes(std::string_view start, int64_t file_bytes,
                                 const std::string& path) {
  uint64_t length = 0;
  if (start.size() < sizeof(length)) {
    reject_length(path, "holds " + std::to_string(start.size()) + " bytes, a header needs 8");
  }
  std::memcpy(&length, start.data(), sizeof(length));
  const auto follow = static_cast<uint64_t>(file_bytes - kLengthBytes);
  const std::string would = "its header would be " + std::to_string(length) + " bytes long, ";
  if (length > kMaxHeaderBytes) {
    reject_length(path, would + "the limit is " + std::to_string(kMaxHeaderBytes));
  }
  if (length > follow) reject_length(path, would + "only " + std::to_string(follow) + " follow");
  return static_cast<int64_t>(length);
}

int64_t dtype_bits(std::string_view dtype) {
  for (const Dtype& known : kDtypes) {
    if (known.name == dtype) return known.bits;
  }
  return 0;
}

int64_t dtype_rank(std::string_view dtype) {
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                  [&](const Dtype& known) { return known.name == dtype; });
  return found - kDtypes.begin();
}

SafetensorsHeader parse_safetensors_header(std::string_view json_text, int64_t data_bytes,
                                           const std::string& path) {
  const json root = parse_strict_json(json_text, path);
  SafetensorsHeader header;
  for (const auto& [name, entry] : root.items()) {
    if (name == kMetadata) {
      header.metadata = metadata_of(entry, path);
    } else {
      header.tensors.emplace(name, info_of(entry, path, name));
    }
  }
  check_coverage(header, data_bytes, path);
  return header;
}

}  // namespace dsmoe::train
