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

TEST_CASE("the parts are those of the papers and add up") {
  const auto v2 = count_parts(preset("v2"));
  CHECK(v2.attention == int64_t{60} * 149'227'520);
  CHECK(v2.dense_feed_forward == 188'743'680);
  CHECK(v2.shared_experts == int64_t{59} * 47'185'920);
  CHECK(v2.router == int64_t{59} * 819'200);
  CHECK(v2.norms == int64_t{60} * 10'240 + 5'120);
  CHECK(v2.input_embedding == 524'288'000);
  CHECK(v2.output_head == 524'288'000);
  const auto lite = count_parts(preset("v2_lite"));
  CHECK(lite.attention == int64_t{27} * 13'763'072);
  CHECK(lite.dense_feed_forward == 67'239'936);
  CHECK(lite.shared_experts == int64_t{26} * 17'301'504);
  CHECK(lite.router == int64_t{26} * 131'072);
  for (const char* name : {"v2", "v2_lite", "v3_router", "moe_16b", "tiny"}) {
    const auto p = count_parts(preset(name));
    CHECK(p.input_embedding + p.output_head + p.attention + p.dense_feed_forward +
              p.routed_experts + p.shared_experts + p.router + p.norms ==
          count_parameters(preset(name)).total);
  }
}

TEST_CASE("DeepSeek-V3's router and layers have the published number of parameters") {
  const auto census = count_parameters(preset("v3_router"));
  CHECK(census.total == 671'026'419'200);
  CHECK(census.active == 37'552'297'472);
  CHECK(census.active_without_input_embedding == 36'625'618'432);
  CHECK(census.active_without_embeddings == 35'698'939'392);
  const auto parts = count_parts(preset("v3_router"));
  CHECK(parts.attention == int64_t{61} * 187'107'328);
  CHECK(parts.dense_feed_forward == int64_t{3} * 396'361'728);
  CHECK(parts.router == int64_t{58} * 1'835'264);
  CHECK(parts.shared_experts == int64_t{58} * 44'040'192);
}

TEST_CASE("DeepSeekMoE 16B has its published total") {
  const auto config = preset("moe_16b");
  CHECK(count_parameters(config).total == 16'375'728'128);
  CHECK(count_parts(config).attention ==
        config.num_hidden_layers * 4 * config.hidden_size * config.hidden_size);
  CHECK(kv_cache_elements(config) == config.num_hidden_layers * 2 * config.hidden_size);
}

TEST_CASE("fewer key-value heads take fewer parameters and a smaller cache") {
  config::ModelConfig config;
  config.attention.kind = config::AttentionKind::kGqa;
  config.num_key_value_heads = 2;
  // Four query heads of 64, two key heads of 64 and two value heads of 32.
  CHECK(count_parts(config).attention == 4 * 256 * (4 * 64 + 2 * (64 + 32) + 4 * 32));
  CHECK(kv_cache_elements(config) == 4 * 2 * (64 + 32));
}

TEST_CASE("a token's key-value cache has the elements of V2 table 1") {
  CHECK(kv_cache_elements(preset("v2")) == 34'560);
  CHECK(kv_cache_elements(preset("v2_lite")) == 15'552);
  const auto v2 = compare_caches(preset("v2"));
  CHECK(v2.mha == 1'966'080);
  CHECK(v2.gqa == 122'880);
  CHECK(v2.mqa == 15'360);
  const auto lite = compare_caches(preset("v2_lite"));
  CHECK(lite.mha == 110'592);
  CHECK(lite.gqa == 55'296);
  CHECK(lite.mqa == 6'912);
  // 6 bits an element against the 16 of DeepSeek 67B, 8 key-value heads of 128 in 95 layers.
  const double smaller = 34'560.0 * 6.0 / (2.0 * 8.0 * 128.0 * 95.0 * 16.0);
  CHECK(100.0 * (1.0 - smaller) == Approx(93.34).margin(0.005));
}

TEST_CASE("the paper's floating-point operations of a sequence") {
  struct Published {
    int64_t layers, width;
    double ffn;  // active FFN of a layer in units of a standard one
    int64_t vocabulary, length;
    double tera;
  };
  for (const Published& p :
       {Published{30, 4096, 1, 102400, 4096, 183.5}, Published{28, 2048, 2, 102400, 4096, 74.4},
        Published{9, 1280, 2, 8192, 2048, 4.33}, Published{9, 1280, 1, 8192, 2048, 2.88},
        Published{9, 1280, 16, 8192, 2048, 24.6}, Published{9, 1280, 3, 8192, 2048, 5.78},
        Published{62, 4096, 2, 102400, 4096, 572.7},
        Published{95, 8192, 1, 102400, 4096, 2057.5}}) {
    const double units = p.ffn * static_cast<double>(p.layers);
    const double flops = static_cast<double>(p.length) *
                         paper_flops(p.layers, p.width, units, p.vocabulary, p.length);
    const double last_digit = p.tera < 10 ? 0.005 : 0.05;
    CHECK(flops / 1e12 == Approx(p.tera).margin(1.01 * last_digit).epsilon(0));
  }
}

TEST_CASE("device-limited routing bounds the rows of a token") {
  const auto v2 = count_traffic(preset("v2"));
  CHECK(v2.naive == 6.0);
  CHECK(v2.device_limited == 3.0);
  CHECK(v2.naive * 5120 * 2 == 61'440.0);
  CHECK(v2.device_limited * 5120 * 2 == 30'720.0);
  // 8 groups times the chance that some of 6 of 160 experts lies in a given group of 20.
  double missed = 1.0;
  for (int k = 0; k < 6; ++k) missed *= (140.0 - k) / (160.0 - k);
  CHECK(v2.deduplicated == Approx(8.0 * (1.0 - missed)).epsilon(1e-12));
  CHECK(count_traffic(preset("v2_lite")).deduplicated == Approx(1.0));
  CHECK(count_traffic(preset("v2_lite")).device_limited == 1.0);
}

TEST_CASE("decoding reads latents: operations grow by the cache, not by its square") {
  const auto config = preset("v2");
  const double at_1k = count_flops(config, 1023).decode;
  const double at_2k = count_flops(config, 2047).decode;
  const double core = 2.0 * 1024.0 * 128.0 * (512.0 + 64.0 + 512.0) * 60.0;
  CHECK(at_2k - at_1k == Approx(core).epsilon(1e-12));
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
