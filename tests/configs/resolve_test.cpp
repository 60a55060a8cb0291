#include "configs/resolve.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "configs/dump.h"
#include "configs/hf_config.h"
#include "tests/configs/expect_error.h"
#include "tests/support/catch.h"

namespace {

namespace fs = std::filesystem;
using dsmoe::config::resolve;
using dsmoe::config::resolve_text;
using dsmoe::config::Resolved;
using dsmoe::config::RunConfig;
using dsmoe::config::SearchPath;

RunConfig read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return resolve_text(text, "run.yaml", overrides, {}).config;
}

void expect_error(const std::string& text, std::initializer_list<const char*> parts,
                  const std::vector<std::string>& overrides = {}) {
  INFO(text);
  expect_config_error([&] { read(text, overrides); }, parts);
}

/// A folder of its own, removed at the end.
class Folder {
 public:
  explicit Folder(const std::string& name) : path_(fs::temp_directory_path() / name) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }

  std::string write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

}  // namespace

TEST_CASE("an empty file gives the defaults") {
  CHECK(read("") == RunConfig{});
  CHECK(read("run:\nmodel: {}\n") == RunConfig{});
}

TEST_CASE("the YAML of the design is read") {
  const RunConfig config = read(R"(
run: {name: first_light, directory: out, seed: 7, device: cpu, precision: fp64, threads: auto}
model: {vocab_size: 300, q_lora_rank: 12, topk_method: greedy, norm_topk_prob: true}
parallel: {expert: 2, pipeline: 1, zero: 0, backend: mpi}
data:
  sequence_length: 128
  train: [{path: corpus/a.train.jsonl, weight: 2.5, name: a}, {path: b.txt}]
  eval: [{path: corpus/a.eval.jsonl, name: a}]
batch: {sequences: 12, micro_sequences: 3, pool: 2, ramp_from: 4, ramp_steps: 10}
optimizer: {lr: 2.0e-3, betas: [0.8, 0.9], eps: 1e-8, weight_decay: 0, clip_norm: 0.5}
schedule: {tokens: 1e9, warmup_steps: 100, kind: step, at: [0.8, 0.9], factor: 0.316}
balance: {expert: 0, device: 0.05, communication: 0.02, scope: sequence}
drop: {kind: none}
checkpoint: {every: 1, keep: 3, permanent_every: 4}
log: {every: 2, tensorboard: false}
eval: {every: 3, batches: 5, drop: false}
)");
  CHECK(config.run.name == "first_light");
  CHECK(config.run.seed == 7);
  CHECK(config.run.precision == dsmoe::config::Precision::kFp64);
  CHECK(config.run.threads == 0);
  CHECK(config.model.q_lora_rank == 12);
  CHECK(config.model.topk_method == dsmoe::config::TopkMethod::kGreedy);
  CHECK(config.model.norm_topk_prob);
  CHECK(config.data.train.size() == 2);
  CHECK(config.data.train[0].weight == 2.5);
  CHECK(config.data.train[1].name == "b");
  CHECK(config.batch.ramp_steps == 10);
  CHECK(config.optimizer.betas == std::pair<double, double>{0.8, 0.9});
  CHECK(config.schedule.tokens == 1000000000);
  CHECK(config.balance.expert == 0.0);
  CHECK(config.drop.kind == dsmoe::config::DropKind::kNone);
  CHECK(config.checkpoint.keep == 3);
  CHECK_FALSE(config.log.tensorboard);
  CHECK(config.eval.batches == 5);
}

TEST_CASE("a curriculum is a list of stages with weights by name") {
  const auto config = read(R"(
data:
  document_mask: true
  train: [{path: a.jsonl}, {path: b.jsonl}]
  stages:
    - {tokens: 2e6, weights: {a: 1}}
    - weights: {b: 0.75, a: 0.25}
)");
  CHECK(config.data.document_mask);
  REQUIRE(config.data.stages.size() == 2);
  CHECK(config.data.stages[0].tokens == 2000000);
  CHECK(config.data.stages[1].weights ==
        std::vector<std::pair<std::string, double>>{{"b", 0.75}, {"a", 0.25}});
  CHECK(read(dsmoe::config::dump(config)) == config);
  expect_error("data: {stages: [{weights: {a: 1, a: 2}}]}",
               {"data.stages[0].weights.a: duplicate key"});
  expect_error("data: {stages: [{weights: {a: 0}}]}",
               {"data.stages[0].weights.a: must be > 0.0, not 0"});
  expect_error("data: {stages: [{weights: [a]}]}", {"data.stages[0].weights: must be a map"});
  expect_error("data: {stages: [{tokens: 0}]}", {"data.stages[0].tokens: must be"});
}

TEST_CASE("an unknown key is an error with its line and the nearest name") {
  expect_error("run:\n  nmae: x\n", {"run.yaml:2: run.nmae: unknown key, did you mean run.name?"});
  expect_error("\nmodle: {}\n", {"run.yaml:2: modle: unknown key, did you mean model?"});
  expect_error("model: {hiden_size: 8}\n", {"did you mean model.hidden_size?"});
  expect_error("model: {lr: 8}\n", {"run.yaml:1: model.lr", "did you mean optimizer.lr?"});
  expect_error("data: {train: [{path: x, wieght: 1}]}\n",
               {"data.train[0].wieght", "did you mean data.train[0].weight?"});
  expect_error("data: {eval: [{path: x, weight: 1}]}\n", {"data.eval[0].weight: unknown key"});
  expect_error("model: {rope_scaling: {type: yarn, faktor: 40}}\n",
               {"did you mean model.rope_scaling.factor?"});
}

TEST_CASE("a duplicate key is an error with both lines") {
  expect_error("run: {seed: 1}\nrun: {seed: 2}\n",
               {"run.yaml:2: run: duplicate key, first given at run.yaml:1"});
  expect_error("balance:\n  expert: 1\n  device: 1\n  expert: 2\n",
               {"run.yaml:4: balance.expert: duplicate key, first given at run.yaml:2"});
  expect_error("model:\n  n_group: 1\n  n_group: 2\n",
               {"run.yaml:3: model.n_group: duplicate key"});
  expect_error("data: {train: [{path: x, path: y}]}", {"data.train[0].path: duplicate key"});
}

TEST_CASE("a value of the wrong type is an error that shows it") {
  expect_error("run: {seed: one}\n", {"run.yaml:1: run.seed: must be an integer, not `one`"});
  expect_error("run: {seed: 1.5}\n", {"run.seed: must be an integer, not `1.5`"});
  expect_error("run: {seed: '1'}\n", {"run.seed: must be an integer, not `\"1\"`"});
  expect_error("run: {seed: 99999999999999999999}\n", {"run.seed: must be an integer"});
  expect_error("run: {name: [a]}\n", {"run.name: must be text, not a list"});
  expect_error("run: 3\n", {"run.yaml:1: run: must be a map of keys and values, not `3`"});
  expect_error("[1]\n", {"run.yaml: must be a map of keys and values, not a list"});
  expect_error("log: {tensorboard: yes}\n", {"log.tensorboard: must be true or false, not `yes`"});
  expect_error("optimizer: {lr: fast}\n", {"optimizer.lr: must be a finite number, not `fast`"});
  expect_error("optimizer: {lr: .nan}\n", {"optimizer.lr: must be a finite number"});
  expect_error("optimizer: {lr: nan}\n", {"optimizer.lr: must be a finite number"});
  expect_error("optimizer: {betas: [0.9]}\n", {"optimizer.betas: must be a list of two numbers"});
  expect_error("schedule: {at: 0.5}\n", {"schedule.at: must be a list, not `0.5`"});
  expect_error("data: {train: x}\n", {"data.train: must be a list, not `x`"});
  expect_error("model: {hidden_size: null}\n", {"model.hidden_size: must be an integer, not null"});
  expect_error("run: {precision: fp8}\n", {"run.precision: must be fp32 | fp64 | bf16, not fp8"});
}

TEST_CASE("a value out of range is an error with the range") {
  expect_error("run: {seed: -1}\n", {"run.seed: must be >= 0, not -1"});
  expect_error("run: {name: a/b}\n", {"run.name: must be letters, digits, _ and -"});
  expect_error("model: {hidden_size: 0}\n", {"model.hidden_size: must be 1 to 2^31, not 0"});
  expect_error("batch: {pool: 0}\n", {"batch.pool: must be 1 to 2^31, not 0"});
  expect_error("model: {topk_group: 1e12, n_group: 1e12}\n",
               {"model.topk_group: must be 1 to 2^31"});
  expect_error("optimizer: {betas: [0.9, 1.0]}\n", {"optimizer.betas[1]: must be 0.0 to"});
  expect_error("schedule: {at: [0.5, 1.0]}\n", {"schedule.at[1]: must be above 0.0 and below 1.0"});
  expect_error("drop: {protected: 1.1}\n", {"drop.protected: must be 0.0 to 1.0, not 1.1"});
  expect_error("drop: {capacity: 0}\n", {"drop.capacity: must be > 0.0, not 0"});
}

TEST_CASE("all errors are reported together") {
  const std::string message = config_error([] {
    read("run: {nmae: x, seed: -1}\nbalance: {expert: a}\n", {"log.every=0", "foo=1", "x"});
  });
  INFO(message);
  CHECK(message.rfind("6 errors in the configuration:\n", 0) == 0);
  CHECK(std::count(message.begin(), message.end(), '\n') == 7);
}

TEST_CASE("key=value wins over the file and is parsed as YAML") {
  const std::string text = "balance: {expert: 0.5, device: 0.25}\ndata: {eval: [{path: a}]}\n";
  const RunConfig config = read(text, {"balance.expert=0", "data.eval=[{path: x/y.txt, name: z}]",
                                       "model.q_lora_rank=7", "run.directory=a=b"});
  CHECK(config.balance.expert == 0.0);
  CHECK(config.balance.device == 0.25);
  CHECK(config.data.eval.at(0).path == "x/y.txt");
  CHECK(config.data.eval.at(0).name == "z");
  CHECK(config.model.q_lora_rank == 7);
  CHECK(config.run.directory == "a=b");
}

TEST_CASE("errors of arguments say command line") {
  expect_error("", {"command line: balance.expert: must be a finite number, not `x`"},
               {"balance.expert=x"});
  expect_error("", {"command line: balance.exprt: unknown key, did you mean balance.expert?"},
               {"balance.exprt=1"});
  expect_error("", {"command line: `balance.expert`: must be section.key=value"},
               {"balance.expert"});
  expect_error("", {"command line: `=1`: must be section.key=value"}, {"=1"});
  expect_error("", {"command line: `a..b=1`: must be section.key=value"}, {"a..b=1"});
  expect_error("", {"command line: run.seed: is given more than once"},
               {"run.seed=1", "run.seed=2"});
  expect_error("", {"command line: data.train", "not a valid YAML value"}, {"data.train=[{a: b"});
  expect_error("", {"command line: seed: unknown key, did you mean run.seed?"}, {"seed=1"});
}

TEST_CASE("a nested key may be given alone") {
  const RunConfig config =
      read("model: {rope_scaling: {type: yarn, factor: 40}}\n", {"model.rope_scaling.factor=20"});
  REQUIRE(config.model.rope_scaling.has_value());
  CHECK(config.model.rope_scaling->factor == 20.0);
}

TEST_CASE("a preset stands between the defaults and the file") {
  const Folder folder("dsmoe_preset");
  folder.write("m/p.yaml", "hidden_size: 96\nv_head_dim: 8\nnum_attention_heads: 2\n");
  const std::string run = folder.write("run.yaml", "model: {hidden_size: 64, preset: m/p}\n");
  const Resolved read = resolve(run, {"model.num_attention_heads=8"}, {});
  CHECK(read.config.model.v_head_dim == 8);
  CHECK(read.config.model.hidden_size == 64);
  CHECK(read.config.model.num_attention_heads == 8);
  CHECK(read.config.model.preset.empty());
  REQUIRE(read.sources.size() == 1);
  CHECK(read.sources[0].find("m/p.yaml") != std::string::npos);
  CHECK(read.notices.empty());
}

TEST_CASE("a preset is searched beside the file, in the working and the installed folder") {
  const Folder folder("dsmoe_places");
  const std::string run = folder.write("runs/run.yaml", "model: {preset: p}\n");
  const SearchPath search{folder.path() + "/working", folder.path() + "/installed"};
  expect_config_error([&] { resolve(run, {}, search); },
                      {"model.preset: `p` was not found; tried", "runs/p.yaml", "working/p.yaml",
                       "installed/p.yaml"});
  folder.write("installed/p.yaml", "model: {hidden_size: 12}\n");
  CHECK(resolve(run, {}, search).config.model.hidden_size == 12);
  folder.write("working/p.yaml", "hidden_size: 24\n");
  CHECK(resolve(run, {}, search).config.model.hidden_size == 24);
  folder.write("runs/p.yaml", "hidden_size: 48\n");
  CHECK(resolve(run, {}, search).config.model.hidden_size == 48);
  folder.write("runs/other.yaml", "hidden_size: 80\n");
  CHECK(resolve(run, {"model.preset=other"}, search).config.model.hidden_size == 80);
  CHECK(resolve(run, {"model.preset=null"}, search).config.model.hidden_size == 256);
}

TEST_CASE("errors in a preset name its file and line") {
  const Folder folder("dsmoe_bad_preset");
  folder.write("p.yaml", "hidden_size: 8\nlr: 3\npreset: q\n");
  const std::string run = folder.write("run.yaml", "model: {preset: p}\nrun: {sed: 1}\n");
  expect_config_error([&] { resolve(run, {}, {}); },
                      {"p.yaml:2: lr: unknown key", "p.yaml:3: preset: must not stand in a preset",
                       "run.yaml:2: run.sed"});
}

TEST_CASE("a file of model keys is a configuration with a model section") {
  CHECK(read("hidden_size: 64\nv_head_dim: 16\n").model.hidden_size == 64);
  CHECK(read("hidden_size: 64\n", {"model.v_head_dim=4"}).model.v_head_dim == 4);
}

TEST_CASE("a missing file, a folder and broken YAML are errors with a hint") {
  expect_config_error([] { resolve("/nowhere/x.yaml", {}, {}); },
                      {"/nowhere/x.yaml: cannot be read: No such file"});
  expect_config_error([] { resolve("/tmp", {}, {}); }, {"/tmp: is a folder"});
  expect_error("run: {seed: 1\n", {"run.yaml:2: not valid YAML"});
}

TEST_CASE("a source needs a path, and its name comes from the file where none is given") {
  expect_error("data: {train: [{name: x}]}\n", {"data.train[0].path: is missing"});
  expect_error("data: {train: [{path: a/.hidden}]}\n", {"data.train[0].name: is missing"});
  CHECK(read("data: {eval: [{path: a/b_c.eval.jsonl}]}\n").data.eval.at(0).name == "b_c");
}

TEST_CASE("a method without a group score brings its own") {
  using dsmoe::config::GroupScore;
  CHECK(read("model: {topk_method: noaux_tc}").model.group_score == GroupScore::kTop2Sum);
  CHECK(read("model: {topk_method: noaux_tc, group_score: topk_sum}").model.group_score ==
        GroupScore::kTopkSum);
  CHECK(read("model: {topk_method: noaux_tc}", {"model.topk_method=group_limited_greedy"})
            .model.group_score == GroupScore::kMax);
  CHECK(read("model: {scoring_func: sigmoid}").model.group_score == GroupScore::kMax);
}

TEST_CASE("init_from brings the architecture, under what is given beside it") {
  const Folder folder("dsmoe_init_from_test");
  dsmoe::config::ModelConfig model;
  model.hidden_size = 128;
  model.vocab_size = 300;
  model.rope_theta = 5000.0;
  folder.write("step/model/config.json", dsmoe::config::to_hf_config_json(model, "float32"));
  const std::string init = "model.init_from=" + folder.path() + "/step";
  const Resolved found = resolve_text("model: {rope_theta: 7000.0}", "run.yaml", {init}, {});
  CHECK(found.config.model.hidden_size == 128);
  CHECK(found.config.model.vocab_size == 300);
  CHECK(found.config.model.rope_theta == 7000.0);
  CHECK(found.config.model.init_from == folder.path() + "/step");
  REQUIRE_FALSE(found.sources.empty());
  CHECK(found.sources[0].find("was read from") != std::string::npos);
  // The resolved text says everything: the directory is not read again.
  const std::string text = dsmoe::config::dump(found.config);
  fs::remove_all(folder.path() + "/step");
  CHECK(read(text) == found.config);
  expect_error("", {"no model here", "hint:"}, {init});
}
