#include "configs/expert_choice.h"

#include <filesystem>
#include <fstream>

#include "configs/errors.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"

namespace dsmoe::config {
namespace {

/// Four layers, the first dense, of eight experts.
ModelConfig model() {
  ModelConfig m;
  m.n_routed_experts = 8;
  return m;
}

std::string file_of(const std::string& text) {
  const std::string path = std::filesystem::temp_directory_path() / "dsmoe_expert_choice.yaml";
  return test::write_file(path, text);
}

std::string complaint(const std::string& text) {
  return test::message_of<ConfigError>([&] { (void)read_expert_choice(file_of(text), model()); });
}

TEST_CASE("the fewest experts of highest score reach the share, the last one crossing it") {
  CHECK(choose_experts({0.1, 0.4, 0.2, 0.3}, 0.5).train == std::vector<int64_t>{1, 3});
  CHECK(choose_experts({0.1, 0.4, 0.2, 0.3}, 0.4).train == std::vector<int64_t>{1});
  CHECK(choose_experts({0.1, 0.4, 0.2, 0.3}, 0.7001).train == std::vector<int64_t>{1, 3, 2});
  CHECK(choose_experts({0.25, 0.25, 0.25, 0.25}, 0.3).train == std::vector<int64_t>{0, 1});
  CHECK(choose_experts({0.1, 0.2}, 0.9).train == std::vector<int64_t>{1, 0});
  CHECK(choose_experts({0.1, 0.2}, 0.0).train.empty());
  // Scores are compared as they are published: 0.20004 and 0.19996 are a tie.
  CHECK(choose_experts({0.19996, 0.20004}, 0.1).train == std::vector<int64_t>{0});
}

TEST_CASE("a choice reads back as it was written") {
  ExpertChoice choice{ExpertScore::kGate, 0.1, 1234, "dir with: colon", {}};
  choice.layers[1] = choose_experts({0, 0, 0.5, 0, 0, 0.25, 0, 0}, 0.6);
  choice.layers[3] = choose_experts({0.125, 0, 0, 0, 0, 0, 0, 0}, 0.1);
  const auto read = read_expert_choice(file_of(write_expert_choice(choice)), model());
  CHECK(read.score == choice.score);
  CHECK(read.top_p == choice.top_p);
  CHECK(read.tokens == choice.tokens);
  CHECK(read.model == choice.model);
  CHECK(read.layers.at(1).train == std::vector<int64_t>{2, 5});
  CHECK(read.layers.at(1).scores == choice.layers[1].scores);
  CHECK(read.trains(3, 0));
  CHECK_FALSE(read.trains(3, 1));
  CHECK_FALSE(read.trains(2, 0));
}

TEST_CASE("only the trained experts need to stand in a file") {
  const auto read = read_expert_choice(file_of("layers: {2: {train: [7]}}\n"), model());
  CHECK(read.trains(2, 7));
}

TEST_CASE("a file that names what is not there is refused by line") {
  CHECK(test::has(complaint("layers:\n  0: {train: [1]}\n"), ":2: layers.0: is no layer with"));
  CHECK(test::has(complaint("layers:\n  4: {train: [1]}\n"), "layers.4: is no layer with"));
  CHECK(test::has(complaint("layers:\n  1: {train: [8]}\n"), "layers.1.train"));
  CHECK(test::has(complaint("layers:\n  1: {trian: [1]}\n"), "trian"));
  CHECK(test::has(complaint("layers:\n  1: {train: []}\n"), "no layer trains an expert"));
}

}  // namespace
}  // namespace dsmoe::config
