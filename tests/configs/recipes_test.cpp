#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "configs/dump.h"
#include "configs/hf_config.h"
#include "configs/resolve.h"
#include "configs/validate.h"
#include "tests/support/catch.h"

namespace {

namespace fs = std::filesystem;
using dsmoe::config::Resolved;
using dsmoe::config::SearchPath;

const std::string kConfigs = std::string(DSMOE_SOURCE_DIR) + "/configs";

/// Studies list variants of a recipe; scripts/ablate reads them.
bool is_study(const fs::path& path) {
  return path.parent_path().filename() == "studies" && path.stem() != "base";
}

std::vector<std::string> recipes(const std::string& folder) {
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kConfigs + folder)) {
    if (entry.path().extension() == ".yaml" && !is_study(entry.path()) &&
        entry.path().parent_path().filename() != "clusters") {
      found.push_back(entry.path().string());
    }
  }
  return found;
}

/// A model directory that says no more than what it is: what a fine-tuning begins from.
std::string model_directory() {
  const fs::path folder = fs::temp_directory_path() / "dsmoe_recipes_test";
  fs::create_directories(folder);
  std::ofstream(folder / "config.json")
      << dsmoe::config::to_hf_config_json(dsmoe::config::ModelConfig{}, "float32");
  return folder.string();
}

Resolved resolve_recipe(const std::string& path) {
  const SearchPath search{kConfigs, ""};
  if (fs::path(path).parent_path().filename() != "finetune") {
    return dsmoe::config::resolve(path, {}, search);
  }
  return dsmoe::config::resolve(path, {"model.init_from=" + model_directory()}, search,
                                dsmoe::config::finetune_defaults());
}

}  // namespace

TEST_CASE("every recipe resolves, and its dump reads back to the same configuration") {
  const std::vector<std::string> all = recipes("");
  REQUIRE(all.size() >= 9);
  for (const std::string& path : all) {
    INFO(path);
    const Resolved read = resolve_recipe(path);
    const std::string text = dsmoe::config::dump(read.config);
    CHECK(dsmoe::config::resolve_text(text, "dump", {}, {}).config == read.config);
    CHECK(dsmoe::config::without_effect(read.config).empty());
  }
}

TEST_CASE("every pretraining recipe can be trained on two ranks") {
  for (const std::string& path : recipes("/pretrain")) {
    INFO(path);
    const Resolved read = resolve_recipe(path);
    CHECK_NOTHROW(dsmoe::config::check_training(read.config));
    CHECK_NOTHROW(dsmoe::config::check_layout(read.config, 2));
  }
}

TEST_CASE("every fine-tuning recipe can be trained, without balance losses and dropping") {
  REQUIRE(recipes("/finetune").size() >= 3);
  for (const std::string& path : recipes("/finetune")) {
    INFO(path);
    const dsmoe::config::RunConfig config = resolve_recipe(path).config;
    CHECK_NOTHROW(dsmoe::config::check_training(config));
    CHECK_NOTHROW(dsmoe::config::check_layout(config, 2));
    CHECK(config.data.tokenizer == model_directory());
    CHECK(config.balance.expert + config.balance.device + config.balance.communication == 0);
    CHECK(config.drop.kind == dsmoe::config::DropKind::kNone);
  }
}

TEST_CASE("the bench recipes have the shapes of the comparison with transformers") {
  for (const char* name : {"a", "b", "c", "d"}) {
    const std::string path = kConfigs + "/bench/" + name + ".yaml";
    INFO(path);
    const dsmoe::config::RunConfig config = resolve_recipe(path).config;
    const dsmoe::config::ModelConfig& model = config.model;
    CHECK(model.num_attention_heads == 8);
    CHECK(model.qk_nope_head_dim == 64);
    CHECK(model.qk_rope_head_dim == 32);
    CHECK(model.v_head_dim == 64);
    CHECK(model.q_lora_rank == model.hidden_size / 2);
    CHECK(model.kv_lora_rank == model.hidden_size / 4);
    CHECK(model.intermediate_size == model.hidden_size * 11 / 4);
    CHECK(model.num_experts_per_tok == 6);
    CHECK(model.n_shared_experts == 2);
    CHECK(model.n_group == 8);
    CHECK(model.topk_group == 3);
    CHECK(config.drop.kind == dsmoe::config::DropKind::kNone);
  }
}
