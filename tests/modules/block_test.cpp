#include "modules/block.h"

#include <memory>
#include <string>

#include "modules/mla.h"
#include "parallel/local_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

struct Fixture {
  explicit Fixture(int64_t layer) : block(config, layer, context) { test::randomize(*block, 70); }

  /// A part of the block, by the name that checkpoints give it.
  template <class Part>
  std::shared_ptr<Part> part(const std::string& name) {
    return std::dynamic_pointer_cast<Part>(block->named_children()[name]);
  }
  at::Tensor normed(const std::string& name, const at::Tensor& x_NM) {
    return part<RmsNormImpl>(name)->forward(x_NM);
  }

  config::ModelConfig config = test::tiny_model();
  parallel::LocalCommunicator ep{"ep"};
  MoeContext context{ep, TokenDropper(config, {}, {.micro_sequences = 2}, ep)};
  Block block;
  RopeTable rope = make_rope_table(config, 6, at::kDouble);
  SequenceInfo sequences{{0, 1}, {false, false}, {}, Segments({0, 4, 10})};
  at::Tensor h_NM = test::random({10, 8}, 1);
};

TEST_CASE("a block adds attention, then its feed-forward network, each of the normed stream") {
  const int64_t layer = GENERATE(0, 1);
  CAPTURE(layer);
  Fixture f(layer);
  const at::NoGradGuard no_grad;
  const at::Tensor attended_NM =
      f.h_NM + f.part<MultiHeadLatentAttentionImpl>("self_attn")
                   ->forward(f.normed("input_layernorm", f.h_NM), f.sequences, f.rope);
  const at::Tensor u_NM = f.normed("post_attention_layernorm", attended_NM);
  const at::Tensor y_NM = layer == 0
                              ? f.part<SwigluMlpImpl>("mlp")->forward(u_NM)
                              : f.part<MoeImpl>("mlp")->forward(u_NM, f.sequences, false).y_NM;
  const BlockOutput out = f.block(f.h_NM, f.rope, f.sequences, /*dropping=*/false);
  CHECK(test::gap(out.h_NM, attended_NM + y_NM) < 1e-13);
  CHECK(test::gap(out.h_NM, f.h_NM) > 0.1);
  CHECK(out.record.has_value() == (layer == 1));
  if (out.record) CHECK(out.record->layer == 1);
}

}  // namespace
}  // namespace dsmoe::nn
