#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dsmoe::train {

/// One entry of a safetensors header.
struct TensorInfo {
  std::string dtype;  ///< published name: F64 F32 BF16 F16 I64 ... BOOL
  std::vector<int64_t> shape;
  int64_t begin = 0;  ///< bytes, from the start of the data
  int64_t end = 0;
};

/// A validated safetensors header.
///
///     u64 n (little endian) | n bytes of JSON, padded with spaces | data
///     {"__metadata__": {"k": "v"}, "name": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
///
/// The tensors cover the data without holes and without overlap, in any order of the keys.
struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

/// The header is at most this long (safetensors/src/tensor.rs: MAX_HEADER_SIZE).
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

/// The length n that stands in front.
inline constexpr int64_t kLengthBytes = 8;

/// n, of a file of file_bytes that starts with `start`: its first 8 bytes, or all where there are
/// fewer. Throws CheckpointError when n is over the limit or more than follows: nothing of that
/// size has been allocated then.
[[nodiscard]] int64_t safetensors_header_bytes(std::string_view start, int64_t file_bytes,
                                               const std::string& path);

/// Bits of one element, 0 for an unknown dtype.
[[nodiscard]] int64_t dtype_bits(std::string_view dtype);

/// Place of a dtype in the order of the reference, whose writer puts the highest first.
[[nodiscard]] int64_t dtype_rank(std::string_view dtype);

/// Parses the JSON part. data_bytes: length of what follows it in the file; path: for messages.
/// Throws CheckpointError naming the file, the tensor and the numbers when anything is not as the
/// format says: bytes, JSON, duplicate names, dtypes, shapes, offsets, holes, overlaps, lengths;
/// and on sizes whose product in bits, zeros counted as ones, overflows: torch has no such tensor.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                                         const std::string& path);

}  // namespace dsmoe::train
