#include "trainer/routing_file.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "trainer/atomic_file.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

namespace fs = std::filesystem;
using Counts = std::vector<int64_t> LayerReport::*;

constexpr const char* kSuffix = ".safetensors";

/// One row a layer.
at::Tensor stacked(const StepReport& report, Counts counts) {
  std::vector<at::Tensor> rows;
  for (const LayerReport& layer : report.layers) {
    rows.push_back(torch::tensor(layer.*counts, at::kLong));
  }
  return at::stack(rows);
}

/// The leading dimension, layers, becomes the second.
at::Tensor by_source(const at::Tensor& pairs_LX, int64_t sources) {
  return pairs_LX.unflatten(1, {sources, -1}).transpose(0, 1).contiguous();
}

std::vector<int64_t> layers_of(const StepReport& report) {
  std::vector<int64_t> layers;
  for (const LayerReport& layer : report.layers) layers.push_back(layer.layer);
  return layers;
}

}  // namespace

void write_routing_file(const std::string& directory, const StepReport& report,
                        const std::vector<std::string>& sources) {
  if (report.layers.empty()) return;
  make_directories(directory);
  const auto count = static_cast<int64_t>(sources.size());
  const std::string path = directory + "/" + step_directory_name(report.step) + kSuffix;
  write_safetensors(
      path + ".tmp",
      {{"load", stacked(report, &LayerReport::pairs)},
       {"received", stacked(report, &LayerReport::received)},
       {"sent", stacked(report, &LayerReport::sent)},
       {"devices_per_token", stacked(report, &LayerReport::devices)},
       {"domain_load", by_source(stacked(report, &LayerReport::source_pairs), count)}},
      {{"layers", nlohmann::json(layers_of(report)).dump()},
       {"domains", nlohmann::json(sources).dump()}});
  fs::rename(path + ".tmp", path);
}

void remove_routing_files_after(const std::string& directory, int64_t step) {
  if (!fs::is_directory(directory)) return;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto found = parse_step_directory(entry.path().stem().string());
    if (found && *found > step) fs::remove(entry.path());
  }
}

}  // namespace dsmoe::train
