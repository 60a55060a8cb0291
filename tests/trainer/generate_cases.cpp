#include "trainer/generate.h"

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "parallel/local_communicator.h"
#include "tests/modules/tiny_model.h"
#include "tests/support/rank_suite.h"

namespace dsmoe::train {
namespace {

constexpr int64_t kEos = 10;

std::vector<Prompt> prompts() {
  return {{{3, 1, 4}}, {{9}}, {{2, 6, 5, 3, 5}}, {{8, 9, 7}}, {{0, 0}}};
}

struct Loaded {
  explicit Loaded(parallel::Communicator& ep)
      : model(test::tiny_model(), config::DropConfig{}, config::BatchConfig{}, ep),
        store(model, at::kDouble, nn::train_nothing()) {
    store.initialize(7, 0.5);
  }
  nn::Model model;
  nn::ParameterStore store;
};

std::vector<Generated> texts(parallel::Communicator& world, double temperature) {
  Loaded loaded(world);
  const GenerateOptions options{
      .max_tokens = 12, .sampling = {.temperature = temperature}, .eos = kEos};
  return generate(loaded.model, world, prompts(), options);
}

/// The most likely token of the whole text, run anew each time.
std::vector<int64_t> greedy_by_hand(Loaded& loaded, std::vector<int64_t> ids, int64_t count) {
  const at::NoGradGuard no_grad;
  std::vector<int64_t> added;
  while (static_cast<int64_t>(added.size()) < count) {
    const auto output = loaded.model(torch::tensor(ids, at::kLong).unsqueeze(0),
                                     nn::SequenceInfo{{0}, {false}, {}}, false);
    const int64_t last = output.hidden_NM.size(0) - 1;
    const auto id =
        loaded.model->logits(output.hidden_NM.narrow(0, last, 1)).argmax().item<int64_t>();
    if (id == kEos) break;
    ids.push_back(id);
    added.push_back(id);
  }
  return added;
}

test::Failures decoding_equals_one_rank(parallel::Communicator& world) {
  test::Failures failures;
  parallel::LocalCommunicator alone("ep");
  for (const double temperature : {0.0, 0.8}) {
    const auto wanted = texts(alone, temperature);
    const auto found = texts(world, temperature);
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (found[i].token_ids == wanted[i].token_ids &&
          found[i].finish_reason == wanted[i].finish_reason &&
          found[i].cache_bytes == wanted[i].cache_bytes) {
        continue;
      }
      failures.push_back("prompt " + std::to_string(i) + " goes on differently at temperature " +
                         std::to_string(temperature));
    }
  }
  return failures;
}

test::Failures greedy_is_the_most_likely_token(parallel::Communicator& world) {
  test::Failures failures;
  parallel::LocalCommunicator alone("ep");
  Loaded loaded(alone);
  const auto found = texts(world, 0.0);
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].token_ids != greedy_by_hand(loaded, prompts()[i].ids, 12)) {
      failures.push_back("prompt " + std::to_string(i) +
                         " is not continued by the likeliest token");
    }
  }
  return failures;
}

const bool kRegistered =
    test::register_rank_case("generate: any number of ranks gives one rank's texts",
                             decoding_equals_one_rank) &&
    test::register_rank_case("generate: greedy is the whole text's argmax",
                             greedy_is_the_most_likely_token);

}  // namespace
}  // namespace dsmoe::train
