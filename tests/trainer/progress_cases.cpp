// Between the two halves of a dispatch, while rows travel, the shared experts are computed, and the
// library is let move the rows.
#include "modules/moe.h"
#include "modules/progress.h"
#include "parallel/recording_communicator.h"
#include "tests/modules/numeric.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/checks.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::test {
namespace {

/// How often progress is made while rows are under way, in a forward and in a backward pass.
std::pair<int64_t, int64_t> polls(parallel::Communicator& world, bool overlap) {
  parallel::RecordingCommunicator ep(world);
  nn::MoeContext context{ep, nn::TokenDropper(tiny_model(), {}, {.micro_sequences = 2}, ep)};
  context.overlap = overlap;
  nn::Moe moe(tiny_model(), /*layer=*/0, context);
  randomize(*moe, 50);
  int64_t made = 0;
  const nn::ProgressScope scope([&] { made += ep.under_way() > 0 ? 1 : 0; });
  const at::Tensor u_NM = random({10, tiny_model().hidden_size}, 1).requires_grad_();
  const nn::SequenceInfo sequences{{0, 1}, {false, false}, {}};
  const nn::MoeOutput output = moe(u_NM, sequences, /*dropping=*/false);
  const int64_t forward = std::exchange(made, 0);
  output.y_NM.sum().backward();
  return {forward, made};
}

Failures progress_beside_shared_experts(parallel::Communicator& world) {
  Checks checks;
  if (world.size() == 1) return {};
  const auto [forward, backward] = polls(world, /*overlap=*/true);
  checks.that(forward >= 3, "forward: two products and what is between them");
  checks.that(backward >= 4, "backward: two products for the inputs, two for the weights");
  checks.equal(polls(world, /*overlap=*/false).first, int64_t{0}, "nothing travels beside them");
  return checks.failures();
}

const bool registered = register_rank_case(
    "progress is made while rows travel beside the shared experts", progress_beside_shared_experts);

}  // namespace
}  // namespace dsmoe::test
