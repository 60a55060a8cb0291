#include "trainer/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

using NamedType = std::pair<std::string_view, c10::ScalarType>;
constexpr std::array<NamedType, 19> kTypes = {{{"BOOL", c10::ScalarType::Bool},
                                               {"U8", c10::ScalarType::Byte},
                                               {"I8", c10::ScalarType::Char},
                                               {"I16", c10::ScalarType::Short},
                                               {"U16", c10::ScalarType::UInt16},
                                               {"I32", c10::ScalarType::Int},
                                               {"U32", c10::ScalarType::UInt32},
                                               {"I64", c10::ScalarType::Long},
                                               {"U64", c10::ScalarType::UInt64},
                                               {"F16", c10::ScalarType::Half},
                                               {"BF16", c10::ScalarType::BFloat16},
                                               {"F32", c10::ScalarType::Float},
                                               {"F64", c10::ScalarType::Double},
                                               {"C64", c10::ScalarType::ComplexFloat},
                                               {"F8_E5M2", c10::ScalarType::Float8_e5m2},
                                               {"F8_E4M3", c10::ScalarType::Float8_e4m3fn},
                                               {"F8_E8M0", c10::ScalarType::Float8_e8m0fnu},
                                               {"F8_E4M3FNUZ", c10::ScalarType::Float8_e4m3fnuz},
                                               {"F8_E5M2FNUZ", c10::ScalarType::Float8_e5m2fnuz}}};

int64_t num_elements(const TensorInfo& info) {
  int64_t elements = 1;
  for (const int64_t size : info.shape) elements *= size;
  return elements;
}

}  // namespace

std::string safetensors_dtype(c10::ScalarType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return std::string(name);
  }
  TORCH_CHECK(false, "safetensors has no dtype for ", type);
}

SafetensorsFile::SafetensorsFile(FileHandle file, SafetensorsHeader header, int64_t data_start)
    : file_(std::move(file)), header_(std::move(header)), data_start_(data_start) {}

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  FileHandle file = FileHandle::open_for_reading(path);
  std::string start(static_cast<size_t>(std::min(file.size(), kLengthBytes)), '\0');
  file.read_at(0, start.data(), start.size());
  const int64_t length = safetensors_header_bytes(start, file.size(), path);
  std::string json(static_cast<size_t>(length), '\0');
  file.read_at(kLengthBytes, json.data(), json.size());
  const int64_t data_start = kLengthBytes + length;
  SafetensorsHeader header = parse_safetensors_header(json, file.size() - data_start, path);
  return SafetensorsFile(std::move(file), std::move(header), data_start);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, info] : header_.tensors) names.push_back(name);
  return names;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return header_.tensors.count(name) != 0;
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) {
    throw CheckpointError(path() + ": has no tensor '" + name +
                          "'\nhint: check that the file belongs to this model");
  }
  return found->second;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return header_.metadata;
}

c10::ScalarType SafetensorsFile::dtype(const std::string& name) const {
  const std::string& dtype = info(name).dtype;
  for (const auto& [known, type] : kTypes) {
    if (known == dtype) return type;
  }
  throw CheckpointError(path() + ": tensor '" + name + "': cannot compute with dtype " + dtype +
                        "\nhint: convert it to F32 or BF16");
}

std::pair<int64_t, int64_t> SafetensorsFile::byte_range(const std::string& name) const {
  const TensorInfo& entry = info(name);
  return {data_start_ + entry.begin, data_start_ + entry.end};
}

void SafetensorsFile::read_into(const std::string& name, int64_t begin,
                                const at::Tensor& out) const {
  const TensorInfo& entry = info(name);
  const int64_t elements = num_elements(entry);
  TORCH_CHECK(out.is_contiguous() && out.is_cpu() && out.scalar_type() == dtype(name),
              "read_into: ", name, " is ", entry.dtype, ", the target is ", out.scalar_type());
  TORCH_CHECK(begin >= 0 && begin <= elements && out.numel() <= elements - begin,
              "read_into: ", name, " has ", elements, " elements, asked for ", out.numel(),
              " from ", begin);
  const int64_t width = static_cast<int64_t>(out.element_size());
  file_.read_at(data_start_ + entry.begin + begin * width, out.mutable_data_ptr(), out.nbytes());
}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const at::Tensor out = at::empty(info(name).shape, at::TensorOptions().dtype(dtype(name)));
  read_into(name, /*begin=*/0, out);
  return out;
}

at::Tensor SafetensorsFile::read_rows(const std::string& name, int64_t begin, int64_t end) const {
  std::vector<int64_t> shape = info(name).shape;
  TORCH_CHECK(!shape.empty() && 0 <= begin && begin <= end && end <= shape[0], "read_rows: rows [",
              begin, ", ", end, ") of ", name, " with ", shape.empty() ? 0 : shape[0], " rows");
  shape[0] = end - begin;
  const at::Tensor out = at::empty(shape, at::TensorOptions().dtype(dtype(name)));
  int64_t row_elements = 1;
  for (size_t dim = 1; dim < shape.size(); ++dim) row_elements *= shape[dim];
  read_into(name, begin * row_elements, out);
  return out;
}

at::Tensor SafetensorsFile::read_elements(const std::string& name, int64_t begin,
                                          int64_t end) const {
  const int64_t elements = num_elements(info(name));
  TORCH_CHECK(0 <= begin && begin <= end && end <= elements, "read_elements: [", begin, ", ", end,
              ") of ", name, " with ", elements, " elements");
  const at::Tensor out = at::empty({end - begin}, at::TensorOptions().dtype(dtype(name)));
  read_into(name, begin, out);
  return out;
}

}  // namespace dsmoe::train
