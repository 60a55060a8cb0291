#include "trainer/loaded_model.h"

#include <algorithm>
#include <filesystem>

#include "configs/resolve.h"
#include "data/missing_tokenizer.h"
#include "trainer/adapter_directory.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/check_tokenizer.h"
#include "trainer/model_directory.h"
#include "trainer/model_place.h"

namespace dsmoe::train {
namespace {

/// The configuration of the run that made the directory; absent beside a published one.
std::string run_config_of(const std::string& model_directory) {
  return directory_of(model_directory) + "/config.yaml";
}

int64_t window_of(const std::string& model_directory, const config::ModelConfig& model) {
  const std::string run = run_config_of(model_directory);
  if (std::filesystem::exists(run)) {
    return config::resolve_text(read_file(run), run, {}, {}).config.data.sequence_length;
  }
  constexpr int64_t kLongest = 4096;
  return std::min(model.max_position_embeddings, kLongest);
}

std::unique_ptr<data::Tokenizer> tokenizer_of(const std::string& directory,
                                              const config::ModelConfig& model) {
  if (std::filesystem::exists(directory + "/tokenizer.json")) {
    return data::make_tokenizer(directory);
  }
  return std::make_unique<data::MissingTokenizer>(directory, model.vocab_size, model.bos_token_id,
                                                  model.eos_token_id);
}

config::Precision precision_of(const std::string& name) {
  if (name == "fp64") return config::Precision::kFp64;
  return name == "bf16" ? config::Precision::kBf16 : config::Precision::kFp32;
}

}  // namespace

std::vector<Argument> OpenOptions::arguments(const std::vector<Argument>& others) {
  std::vector<Argument> all{
      {"--model", &model, "Hugging Face, step or adapter directory", /*required=*/true},
      {"--base", &base, "the weights that an adapter belongs to; else where it says itself"},
      {.name = "--precision",
       .target = &precision,
       .help = "fp32, bf16 (half the memory) or fp64",
       .one_of = {"fp32", "bf16", "fp64"}}};
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

LoadedModel open_model(const OpenOptions& options, CommandContext& context) {
  LoadedModel loaded;
  config::RunConfig config;
  ModelPlace place;
  std::vector<std::string> notices;
  agree(context.world, [&] {
    place = find_model_place(options.model, options.base);
    loaded.directory = place.directory;
    verify_model_directory(loaded.directory, {context.world.rank(), context.world.size()});
    config = config_of_directory(loaded.directory, context.world.size(), notices);
    config.run.precision = precision_of(options.precision);
    loaded.tokenizer = tokenizer_of(loaded.directory, config.model);
    check_vocabulary(*loaded.tokenizer, config.model);
    loaded.window = window_of(place.named(), config.model);
  });
  for (const std::string& notice : notices) context.console.warn(notice);
  loaded.session =
      std::make_unique<Session>(config, context.world, context.ranks_on_cores,
                                options.gradients ? nn::train_all() : nn::train_nothing());
  agree(context.world, [&] {
    load_model_directory(loaded.directory, config.model, loaded.session->store);
    const auto adapter = open_adapter(place, config.model);
    if (adapter) merge_adapter(*adapter, loaded.session->store);
  });
  return loaded;
}

}  // namespace dsmoe::train
