#include "trainer/optimizer_files.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

const std::string kRange = "range.";

/// What a file says of a tensor that it holds a piece of; else all of it.
std::pair<int64_t, int64_t> range_of(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.metadata().find(kRange + name);
  if (found == file.metadata().end()) {
    return {0, c10::multiply_integers(file.info(name).shape)};
  }
  const std::string& text = found->second;
  return {std::atoll(text.c_str()), std::atoll(text.c_str() + text.find(':') + 1)};
}

}  // namespace

std::string optimizer_file(int64_t number) {
  return "optimizer/state-" + std::to_string(number) + ".safetensors";
}

void write_optimizer_file(const std::string& step_directory, int64_t number,
                          const std::vector<StatePiece>& pieces) {
  SafetensorsMetadata metadata{{"format", "pt"}};
  std::vector<NamedTensor> tensors;
  for (const StatePiece& piece : pieces) {
    tensors.push_back({piece.name, piece.values});
    const int64_t count = piece.values.numel();
    if (count == piece.numel) continue;
    metadata[kRange + piece.name] =
        std::to_string(piece.begin) + ":" + std::to_string(piece.begin + count);
  }
  write_safetensors(step_directory + "/" + optimizer_file(number), tensors, metadata);
}

OptimizerFiles OptimizerFiles::open(const std::string& step_directory) {
  OptimizerFiles opened;
  opened.directory_ = step_directory + "/optimizer";
  for (int64_t n = 0; std::filesystem::exists(step_directory + "/" + optimizer_file(n)); ++n) {
    opened.add(step_directory + "/" + optimizer_file(n));
  }
  return opened;
}

void OptimizerFiles::add(const std::string& path) {
  const SafetensorsFile& file = files_.emplace_back(SafetensorsFile::open(path));
  for (const std::string& name : file.names()) {
    const auto [begin, end] = range_of(file, name);
    places_[name].push_back({files_.size() - 1, begin, end});
  }
}

at::Tensor OptimizerFiles::read_elements(const std::string& name, int64_t begin,
                                         int64_t end) const {
  const auto found = places_.find(name);
  int64_t missing = end - begin;
  at::Tensor values;
  for (const Place& place : found == places_.end() ? std::vector<Place>{} : found->second) {
    const int64_t from = std::max(begin, place.begin), to = std::min(end, place.end);
    if (from >= to) continue;
    const SafetensorsFile& file = files_[place.file];
    if (!values.defined()) values = at::empty({end - begin}, file.dtype(name));
    file.read_into(name, from - place.begin, values.narrow(0, from - begin, to - from));
    missing -= to - from;
  }
  if (missing == 0) return values;
  throw CheckpointError(directory_ + ": " + std::to_string(missing) + " of the " +
                        std::to_string(end - begin) + " numbers wanted of " + name +
                        " are missing\nhint: use the directory as model.init_from to start afresh");
}

}  // namespace dsmoe::train
