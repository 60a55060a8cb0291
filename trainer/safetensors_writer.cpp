#include "trainer/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "trainer/safetensors.h"

namespace dsmoe::train {
namespace {

/// Offsets in the order of the reference writer; sorts `specs`.
std::map<std::string, TensorInfo> lay_out(std::vector<TensorSpec>& specs) {
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    const int64_t rank_a = dtype_rank(safetensors_dtype(a.dtype));
    const int64_t rank_b = dtype_rank(safetensors_dtype(b.dtype));
    return rank_a != rank_b ? rank_a > rank_b : a.name < b.name;
  });
  std::map<std::string, TensorInfo> infos;
  int64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    TensorInfo info{safetensors_dtype(spec.dtype), spec.shape, offset, offset};
    int64_t elements = 1;
    for (const int64_t size : spec.shape) elements *= size;
    offset += elements * dtype_bits(info.dtype) / 8;
    info.end = offset;
    TORCH_CHECK(infos.emplace(spec.name, info).second, "two tensors are called ", spec.name);
  }
  return infos;
}

std::string header_text(const std::vector<TensorSpec>& specs,
                        const std::map<std::string, TensorInfo>& infos,
                        const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const TensorSpec& spec : specs) {
    const TensorInfo& info = infos.at(spec.name);
    nlohmann::ordered_json& entry = header[spec.name];
    entry["dtype"] = info.dtype;
    entry["shape"] = info.shape;
    entry["data_offsets"] = {info.begin, info.end};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorSpec> specs,
                                     const SafetensorsMetadata& metadata)
    : file_(FileHandle::create(path)), infos_(lay_out(specs)) {
  const std::string header = header_text(specs, infos_, metadata);
  const uint64_t length = header.size();
  file_.write_at(0, &length, sizeof(length));
  file_.write_at(sizeof(length), header.data(), header.size());
  data_start_ = static_cast<int64_t>(sizeof(length) + header.size());
}

void SafetensorsWriter::write(const std::string& name, const at::Tensor& tensor) {
  const auto found = infos_.find(name);
  TORCH_CHECK(found != infos_.end(), "tensor ", name, " was not announced");
  TORCH_CHECK(tensor.sizes() == at::IntArrayRef(found->second.shape), "tensor ", name, " was ",
              at::IntArrayRef(found->second.shape), " when announced, is ", tensor.sizes());
  write_elements(name, /*begin=*/0, tensor);
}

void SafetensorsWriter::write_elements(const std::string& name, int64_t begin,
                                       const at::Tensor& elements) {
  const auto found = infos_.find(name);
  TORCH_CHECK(found != infos_.end(), "tensor ", name, " was not announced");
  const TensorInfo& info = found->second;
  TORCH_CHECK(safetensors_dtype(elements.scalar_type()) == info.dtype, "tensor ", name, " was ",
              info.dtype, " when announced, is ", elements.scalar_type());
  const at::Tensor values = elements.detach().cpu().contiguous();
  const int64_t offset = info.begin + begin * static_cast<int64_t>(values.element_size());
  const int64_t bytes = static_cast<int64_t>(values.nbytes());
  TORCH_CHECK(begin >= 0 && bytes <= info.end - offset, "tensor ", name, " has ",
              info.end - info.begin, " bytes, asked to write ", bytes, " from element ", begin);
  file_.write_at(data_start_ + offset, values.const_data_ptr(), values.nbytes());
  written_bytes_[name] += bytes;
}

void SafetensorsWriter::finish() {
  for (const auto& [name, info] : infos_) {
    TORCH_CHECK(written_bytes_[name] == info.end - info.begin, "tensor ", name, ": ",
                written_bytes_[name], " of ", info.end - info.begin, " bytes were written");
  }
  file_.sync();
}

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsMetadata& metadata) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& named : tensors) {
    specs.push_back({named.name, named.tensor.scalar_type(), named.tensor.sizes().vec()});
  }
  SafetensorsWriter writer(path, std::move(specs), metadata);
  for (const NamedTensor& named : tensors) writer.write(named.name, named.tensor);
  writer.finish();
}

}  // namespace dsmoe::train
