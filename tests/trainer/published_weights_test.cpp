#include "trainer/published_weights.h"

#include <map>
#include <string>

#include "configs/errors.h"
#include "modules/published_tensors.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/safetensors_writer.h"

namespace dsmoe::train {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

Tensors published(at::ScalarType dtype) {
  Tensors tensors;
  int64_t seed = 0;
  for (const auto& t : nn::published_tensors(test::tiny_model())) {
    auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(++seed));
    tensors[t.name] = at::randn(t.shape, generator).to(dtype);
  }
  return tensors;
}

/// The experts of each layer as newer transformers stack them.
Tensors stacked(Tensors tensors) {
  for (const std::string layer : {"1", "2"}) {
    const std::string prefix = "model.layers." + layer + ".mlp.experts.";
    std::vector<at::Tensor> gate_up, down;
    for (int e = 0; e < 8; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      gate_up.push_back(
          at::cat({tensors[expert + "gate_proj.weight"], tensors[expert + "up_proj.weight"]}));
      down.push_back(tensors[expert + "down_proj.weight"]);
      for (const char* part : {"gate_proj", "up_proj", "down_proj"}) {
        tensors.erase(expert + part + ".weight");
      }
    }
    tensors[prefix + "gate_up_proj"] = at::stack(gate_up);
    tensors[prefix + "down_proj"] = at::stack(down);
  }
  return tensors;
}

PublishedWeights written(const test::TempDirectory& directory, const Tensors& tensors) {
  std::vector<NamedTensor> all;
  for (const auto& [name, tensor] : tensors) all.push_back({name, tensor});
  write_safetensors(directory / kModelFile, all);
  return PublishedWeights::open(directory.path());
}

std::string complaint(const Tensors& tensors) {
  const test::TempDirectory directory;
  try {
    written(directory, tensors).check(test::tiny_model());
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("experts alone and experts stacked read alike, in every dtype") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const Tensors wanted = published(dtype);
    for (const Tensors& form : {wanted, stacked(wanted)}) {
      const test::TempDirectory directory;
      const auto weights = written(directory, form);
      weights.check(test::tiny_model());
      for (const auto& [name, tensor] : wanted) {
        CAPTURE(name);
        CHECK(weights.dtype(name) == dtype);
        at::Tensor out = at::empty(tensor.sizes(), at::kFloat);
        weights.read(name, out);
        CHECK(out.equal(tensor.to(at::kFloat)));
        CHECK(weights.read_elements(name, 1, 2).equal(tensor.flatten().narrow(0, 1, 2)));
      }
    }
  }
}

TEST_CASE("what does not fit the model is listed, each with the shapes that clash") {
  Tensors tensors = published(at::kFloat);
  tensors.erase("model.norm.weight");
  tensors["lm_head.weight"] = at::zeros({3, 8});
  tensors["model.layers.9.mlp.gate.weight"] = at::zeros({1});
  tensors["model.layers.1.mlp.gate.weight"] = at::zeros({8, 8}, at::kLong);
  tensors["model.layers.9.empty"] = at::zeros({0, 8});
  const std::string text = complaint(tensors);
  CHECK(text.find("unexpected model.layers.9.empty") != std::string::npos);
  CHECK(text.find("5 tensors do not fit") != std::string::npos);
  CHECK(text.find("missing    model.norm.weight [8]") != std::string::npos);
  CHECK(text.find("misshapen  lm_head.weight: [3,8], the model has [11,8]") != std::string::npos);
  CHECK(text.find("unexpected model.layers.9.mlp.gate.weight") != std::string::npos);
  CHECK(text.find("unreadable model.layers.1.mlp.gate.weight: dtype I64") != std::string::npos);
  CHECK(text.find("\nhint: ") != std::string::npos);
}

TEST_CASE("stacked experts of the wrong number or width are complaints, both forms at once too") {
  Tensors fewer = stacked(published(at::kFloat));
  const std::string name = "model.layers.1.mlp.experts.down_proj";
  fewer[name] = fewer[name].narrow(0, 0, 7).contiguous();
  CHECK(complaint(fewer).find("missing    model.layers.1.mlp.experts.7.down_proj.weight") !=
        std::string::npos);
  Tensors wider = stacked(published(at::kFloat));
  wider[name] = at::zeros({8, 8, 4});
  CHECK(complaint(wider).find("misshapen  model.layers.1.mlp.experts.0.down_proj.weight: [8,4]") !=
        std::string::npos);
  Tensors twice = stacked(published(at::kFloat));
  twice["model.layers.1.mlp.experts.3.down_proj.weight"] = at::zeros({8, 3});
  CHECK(complaint(twice).find("stands there twice") != std::string::npos);
}

}  // namespace
}  // namespace dsmoe::train
