#include "modules/model_census.h"

#include <numeric>
#include <set>
#include <string>

#include "configs/resolve.h"
#include "modules/published_tensors.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

config::ModelConfig preset(const std::string& name) {
  const std::string folder = DSMOE_SOURCE_DIR "/configs/models/";
  return config::resolve(folder + name + ".yaml", {}, {}).config.model;
}

TEST_CASE("DeepSeek-V2 has the published number of parameters") {
  const auto census = count_parameters(preset("v2"));
  CHECK(census.total == 235'741'434'880);
  CHECK(census.active == 21'375'800'320);
  CHECK(census.active_without_input_embedding == 20'851'512'320);
  CHECK(census.active_without_embeddings == 20'327'224'320);
  CHECK(census.embedding == 524'288'000);
  CHECK(census.routed_experts == int64_t{59} * 160 * 23'592'960);
}

TEST_CASE("DeepSeek-V2-Lite has the published number of parameters") {
  const auto census = count_parameters(preset("v2_lite"));
  CHECK(census.total == 15'706'484'224);
  CHECK(census.active == 2'661'150'208);
  CHECK(census.active_without_input_embedding == 2'451'435'008);
  CHECK(census.active_without_embeddings == 2'241'719'808);
  CHECK(census.embedding == 209'715'200);
  CHECK(census.routed_experts == int64_t{26} * 64 * 8'650'752);
}

TEST_CASE("a token's key-value cache has the elements of V2 table 1") {
  CHECK(kv_cache_elements(preset("v2")) == 34'560);
  CHECK(kv_cache_elements(preset("v2_lite")) == 15'552);
}

TEST_CASE("floating-point operations per token at 4096 positions") {
  const auto v2 = count_flops(preset("v2"), 4096);
  CHECK(v2.sequence_length == 4096);
  CHECK(v2.forward == Approx(51.8e9).epsilon(1e-3));
  CHECK(v2.training == Approx(155e9).epsilon(4e-3));
  CHECK(v2.training_noncausal == Approx(186e9).epsilon(4e-3));
  const auto lite = count_flops(preset("v2_lite"), 4096);
  CHECK(lite.forward == Approx(5.47e9).epsilon(1e-3));
  CHECK(lite.training == Approx(16.4e9).epsilon(4e-3));
  CHECK(lite.training_noncausal == Approx(18.1e9).epsilon(4e-3));
}

TEST_CASE("operations of the tiny model, counted by hand") {
  // Multiply-adds of a layer: q 8*5 + 5*14, kv 8*10 + 6*10, o 4*8; dense 3*8*7; MoE 3*8*3 for each
  // of 3 + 2 experts and 8*8 for the gate; head 8*11. Attention: keys * 2 heads * (7 + 2).
  const double attention = 3.0 * (40 + 70 + 80 + 60 + 32);
  const double matrices = attention + 168 + 2.0 * (72 * 5 + 64) + 88;
  const auto census = count_flops(test::tiny_model(), 5);
  CHECK(census.forward == Approx(2.0 * (matrices + 3.0 * 3.0 * 18)));  // 3 keys on average
  CHECK(census.training == Approx(3.0 * census.forward));
  CHECK(census.training_noncausal == Approx(6.0 * (matrices + 3.0 * 5.0 * 18)));
}

TEST_CASE("published names are unique and their elements add up to the total") {
  for (const char* name : {"v2", "v2_lite"}) {
    std::set<std::string> names;
    int64_t total = 0;
    for (const PublishedTensor& t : published_tensors(preset(name))) {
      names.insert(t.name);
      total += t.numel();
    }
    CHECK(names.size() == published_tensors(preset(name)).size());
    CHECK(total == count_parameters(preset(name)).total);
    CHECK(names.count("model.layers.1.mlp.shared_experts.gate_proj.weight") == 1);
    CHECK(names.count("model.layers.0.mlp.gate.weight") == 0);
  }
}

TEST_CASE("a dense model's parameters are all active") {
  auto config = test::tiny_model();
  config.n_routed_experts = 0;
  const auto census = count_parameters(config);
  CHECK(census.active == census.total);
  CHECK(census.routed_experts == 0);
}

}  // namespace
}  // namespace dsmoe::nn
