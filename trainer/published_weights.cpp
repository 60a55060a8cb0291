#include "trainer/published_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/errors.h"
#include "modules/published_tensors.h"

namespace dsmoe::train {
namespace {

constexpr std::string_view kGateUp = ".mlp.experts.gate_up_proj";
constexpr std::string_view kDown = ".mlp.experts.down_proj";

std::string shape_text(const std::vector<int64_t>& shape) { return nlohmann::json(shape).dump(); }

bool is_floating(const std::string& dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16" || dtype == "F64";
}

int64_t elements(const std::vector<int64_t>& shape) { return c10::multiply_integers(shape); }

/// Of n_shared_experts 0 transformers saves matrices without elements.
bool is_absent_shared_expert(const std::string& name, const std::vector<int64_t>& shape) {
  return elements(shape) == 0 && name.find(".mlp.shared_experts.") != std::string::npos;
}

}  // namespace

PublishedWeights PublishedWeights::open(const std::string& directory) {
  return PublishedWeights(SafetensorsDirectory::open(directory));
}

PublishedWeights::PublishedWeights(SafetensorsDirectory files) : files_(std::move(files)) {
  for (const std::string& name : files_.names()) {
    const bool stacked = files_.file_of(name).info(name).shape.size() == 3;
    if (stacked && name.ends_with(kGateUp)) {
      place_stacked(name, name.substr(0, name.size() - kGateUp.size()), /*gate_up=*/true);
    } else if (stacked && name.ends_with(kDown)) {
      place_stacked(name, name.substr(0, name.size() - kDown.size()), /*gate_up=*/false);
    } else {
      place(name, {name, files_.file_of(name).info(name).shape});
    }
  }
}

void PublishedWeights::place(const std::string& name, Place place) {
  const auto [at, added] = places_.emplace(name, std::move(place));
  if (added) return;
  throw CheckpointError(files_.path() + ": tensor '" + name +
                        "' stands there twice, alone and in '" + at->second.stored +
                        "'\nhint: keep one form of the experts");
}

void PublishedWeights::place_stacked(const std::string& stored, const std::string& prefix,
                                     bool gate_up) {
  const auto& shape = files_.file_of(stored).info(stored).shape;
  const int64_t size = shape[1] * shape[2];
  for (int64_t e = 0; e < shape[0]; ++e) {
    const std::string expert = prefix + ".mlp.experts." + std::to_string(e) + ".";
    if (gate_up) {
      const std::vector<int64_t> half{shape[1] / 2, shape[2]};
      place(expert + "gate_proj.weight", {stored, half, e * size});
      place(expert + "up_proj.weight", {stored, half, e * size + elements(half)});
    } else {
      place(expert + "down_proj.weight", {stored, {shape[1], shape[2]}, e * size});
    }
  }
}

/// What is wrong with one expected tensor; empty: nothing.
std::string PublishedWeights::complaint(const std::string& name,
                                        const std::vector<int64_t>& shape) const {
  const auto found = places_.find(name);
  if (found == places_.end()) return "missing    " + name + " " + shape_text(shape);
  const Place& place = found->second;
  if (place.shape != shape) {
    return "misshapen  " + name + ": " + shape_text(place.shape) + ", the model has " +
           shape_text(shape);
  }
  const std::string& dtype = files_.file_of(place.stored).info(place.stored).dtype;
  return is_floating(dtype) ? "" : "unreadable " + name + ": dtype " + dtype;
}

void PublishedWeights::check(const config::ModelConfig& model) const {
  std::vector<std::string> lines;
  std::map<std::string, bool> expected;
  for (const auto& t : nn::published_tensors(model)) {
    expected[t.name] = true;
    const std::string wrong = complaint(t.name, t.shape);
    if (!wrong.empty()) lines.push_back(wrong);
  }
  for (const auto& [name, place] : places_) {
    if (expected.count(name) == 0 && !is_absent_shared_expert(name, place.shape)) {
      lines.push_back("unexpected " + name);
    }
  }
  if (lines.empty()) return;
  constexpr size_t kShown = 20;
  std::string text =
      files_.path() + ": " + std::to_string(lines.size()) + " tensors do not fit the configuration";
  for (size_t i = 0; i < std::min(kShown, lines.size()); ++i) text += "\n  " + lines[i];
  if (lines.size() > kShown) text += "\n  and " + std::to_string(lines.size() - kShown) + " more";
  throw CheckpointError(text + "\nhint: the model section must describe the model in this folder");
}

c10::ScalarType PublishedWeights::dtype(const std::string& name) const {
  const Place& place = places_.at(name);
  return files_.file_of(place.stored).dtype(place.stored);
}

at::Tensor PublishedWeights::read_elements(const std::string& name, int64_t begin,
                                           int64_t count) const {
  const Place& place = places_.at(name);
  const int64_t first = place.begin + begin;
  return files_.file_of(place.stored).read_elements(place.stored, first, first + count);
}

void PublishedWeights::read(const std::string& name, const at::Tensor& out) const {
  const Place& place = places_.at(name);
  const SafetensorsFile& file = files_.file_of(place.stored);
  const at::Tensor flat = out.view({-1});
  if (file.dtype(place.stored) == out.scalar_type()) {
    file.read_into(place.stored, place.begin, flat);
    return;
  }
  for (int64_t begin = 0; begin < flat.numel(); begin += kPieceElements) {
    const int64_t count = std::min(kPieceElements, flat.numel() - begin);
    flat.narrow(0, begin, count).copy_(read_elements(name, begin, count));
  }
}

}  // namespace dsmoe::train
