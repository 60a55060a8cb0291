#include "trainer/export_model.h"

#include <ATen/ops/empty.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <vector>

#include "configs/errors.h"
#include "configs/hf_config.h"
#include "configs/init_from.h"
#include "modules/published_tensors.h"
#include "trainer/atomic_file.h"
#include "trainer/manifest.h"
#include "trainer/model_directory.h"
#include "trainer/model_place.h"
#include "trainer/optimizer_files.h"
#include "trainer/published_weights.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

namespace fs = std::filesystem;

// What stands beside the weights and is none of our business.
constexpr const char* kCopied[] = {"tokenizer.json",          "tokenizer_config.json",
                                   "special_tokens_map.json", "generation_config.json",
                                   "chat_template.jinja",     "tokenizer.model"};

struct Shard {
  std::vector<TensorSpec> specs;
  int64_t bytes = 0;
};

int64_t bytes_of(const TensorSpec& spec) {
  return c10::multiply_integers(spec.shape) * static_cast<int64_t>(c10::elementSize(spec.dtype));
}

/// The weights of a model directory; where more precision is asked for than they have, and a run
/// that computes in bf16 left them, the master copies in the step's optimizer/.
class Source {
 public:
  explicit Source(const std::string& model_directory)
      : weights_(PublishedWeights::open(model_directory)) {}

  void add_masters(const std::string& step_directory) {
    verify(step_directory, "optimizer/");
    masters_ = OptimizerFiles::open(step_directory);
  }

  void add_adapter(std::optional<PeftAdapter> adapter) { adapter_ = std::move(adapter); }

  [[nodiscard]] const PublishedWeights& weights() const { return weights_; }

  /// As PublishedWeights::read_elements, converted to `dtype`.
  [[nodiscard]] at::Tensor read_elements(const std::string& name, int64_t begin, int64_t count,
                                         c10::ScalarType dtype) const {
    const bool widens = c10::elementSize(dtype) > c10::elementSize(weights_.dtype(name));
    const bool has_master = widens && masters_.contains(kMaster + name);
    const at::Tensor values = has_master
                                  ? masters_.read_elements(kMaster + name, begin, begin + count)
                                  : weights_.read_elements(name, begin, count);
    const at::Tensor delta = delta_of(name);
    if (!delta.defined()) return values.to(dtype);
    return (values.to(at::kDouble) + delta.narrow(0, begin, count)).to(dtype);
  }

 private:
  /// What the adapter adds to a tensor, flat; kept for the next piece of the same tensor.
  [[nodiscard]] at::Tensor delta_of(const std::string& name) const {
    if (!adapter_) return {};
    if (delta_name_ != name) {
      delta_ = adapter_->delta(name);
      if (delta_.defined()) delta_ = delta_.flatten();
      delta_name_ = name;
    }
    return delta_;
  }

  PublishedWeights weights_;
  OptimizerFiles masters_;
  std::optional<PeftAdapter> adapter_;
  mutable std::string delta_name_;
  mutable at::Tensor delta_;
};

c10::ScalarType target_type(const nn::PublishedTensor& tensor, const PublishedWeights& weights,
                            const ExportOptions& options) {
  const auto stored = weights.dtype(tensor.name);
  return nn::is_correction_bias(tensor.name) ? stored : options.dtype.value_or(stored);
}

/// Cuts the tensors, in the model's order, into shards; one larger than the limit stands alone.
std::vector<Shard> plan_shards(const config::ModelConfig& model, const PublishedWeights& weights,
                               const ExportOptions& options) {
  std::vector<Shard> shards(1);
  for (const auto& tensor : nn::published_tensors(model)) {
    TensorSpec spec{tensor.name, target_type(tensor, weights, options), tensor.shape};
    const int64_t bytes = bytes_of(spec);
    if (shards.back().bytes > 0 && shards.back().bytes + bytes > options.max_shard_bytes) {
      shards.emplace_back();
    }
    shards.back().bytes += bytes;
    shards.back().specs.push_back(std::move(spec));
  }
  return shards;
}

/// Copies one tensor in pieces, each of them told to `advance`.
void copy_tensor(const TensorSpec& spec, const Source& source, SafetensorsWriter& writer,
                 const std::function<void(int64_t)>& advance) {
  const int64_t elements = c10::multiply_integers(spec.shape);
  for (int64_t begin = 0; begin < elements; begin += kPieceElements) {
    const int64_t count = std::min(kPieceElements, elements - begin);
    writer.write_elements(spec.name, begin,
                          source.read_elements(spec.name, begin, count, spec.dtype));
    advance(count * static_cast<int64_t>(c10::elementSize(spec.dtype)));
  }
}

void check_target(const std::string& to) {
  std::error_code ignored;
  if (!fs::exists(to, ignored) || fs::is_empty(to, ignored)) return;
  throw CheckpointError(to + ": is there already\nhint: export into a new directory");
}

/// A folder beside the target that is renamed to it when it is whole, and goes away otherwise.
class Staging {
 public:
  explicit Staging(const std::string& target) : target_(target), path_(target + ".dsmoe-partial") {
    fs::remove_all(path_);
    make_directories(path_);
  }
  ~Staging() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  void publish() {
    std::error_code ignored;
    fs::remove(target_, ignored);  // an empty folder
    fs::rename(path_, target_);
  }

 private:
  std::string target_;
  std::string path_;
};

void copy_companions(const std::string& from, const std::string& to) {
  for (const char* name : kCopied) {
    if (fs::exists(from + "/" + name)) fs::copy_file(from + "/" + name, to + "/" + name);
  }
}

/// The dtype that config.json names: that of most models' every tensor.
std::string dtype_of(const std::vector<Shard>& shards) {
  return hf_dtype_name(shards.front().specs.front().dtype);
}

ExportSummary write_shards(const std::vector<Shard>& shards, const Source& source,
                           const std::string& directory, const ExportProgress& progress) {
  ExportSummary summary{0, 0, static_cast<int64_t>(shards.size())};
  for (const Shard& shard : shards) summary.bytes += shard.bytes;
  std::map<std::string, std::string> weight_map;
  int64_t done = 0;
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string name = shard_name(static_cast<int64_t>(s), summary.shards);
    SafetensorsWriter writer(directory + "/" + name, shards[s].specs);
    for (const TensorSpec& spec : shards[s].specs) {
      copy_tensor(spec, source, writer, [&](int64_t bytes) {
        done += bytes;
        if (progress) progress(done, summary.bytes);
      });
      weight_map[spec.name] = name;
      ++summary.tensors;
    }
    writer.finish();
  }
  if (summary.shards > 1) write_safetensors_index(directory, weight_map, summary.bytes);
  return summary;
}

}  // namespace

ExportSummary export_model(const ExportOptions& options, const ExportProgress& progress) {
  const ModelPlace place = find_model_place(options.from, options.base);
  const std::string& from = place.directory;
  verify_model_directory(from);
  std::vector<std::string> notices;
  const config::ModelConfig model = config::read_model_directory(from, notices);
  Source source(from);
  const auto step = step_directory_of(from);
  if (step && options.dtype == at::kFloat) source.add_masters(*step);
  source.add_adapter(open_adapter(place, model));
  source.weights().check(model);
  check_target(options.to);
  const auto shards = plan_shards(model, source.weights(), options);
  Staging staging(options.to);
  const ExportSummary summary = write_shards(shards, source, staging.path(), progress);
  copy_companions(from, staging.path());
  write_file_atomically(staging.path() + "/config.json",
                        config::to_hf_config_json(model, dtype_of(shards)));
  staging.publish();
  return summary;
}

}  // namespace dsmoe::train
