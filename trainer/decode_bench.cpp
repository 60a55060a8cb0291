#include "trainer/decode_bench.h"

#include <algorithm>

#include "configs/errors.h"
#include "modules/key_value_cache.h"
#include "trainer/agreement.h"
#include "trainer/session.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

void check_context(int64_t context, const config::ModelConfig& model) {
  if (context < model.max_position_embeddings) return;
  throw ConfigError("--context (" + std::to_string(context) + ") leaves no room in " +
                    "model.max_position_embeddings (" +
                    std::to_string(model.max_position_embeddings) +
                    ")\nhint: raise model.max_position_embeddings");
}

nn::KeyValueCache random_cache(const nn::Model& model, int64_t tokens) {
  nn::KeyValueCache cache(model->config(), model->dtype(), model->device());
  cache.reserve(tokens + 1);
  for (int64_t layer = 0; layer < model->config().num_hidden_layers; ++layer) {
    cache.rows(layer, tokens).normal_();
  }
  cache.advance(tokens);
  return cache;
}

DecodeTime time_decode(nn::Model& model, int64_t tokens, int64_t repetitions) {
  nn::KeyValueCache cache = random_cache(model, tokens);
  const at::Tensor token = at::zeros({1}, at::kLong);
  DecodeTime result{tokens, 0, 0};
  for (int64_t i = 0; i < repetitions + 1; ++i) {
    const nn::Continuation part{&cache, 1};
    const Stopwatch watch;
    (void)model->logits(model->extend(token, {&part, 1})).cpu();
    const double seconds = watch.seconds();
    result.cache_bytes = cache.bytes();
    cache.cut(tokens);
    if (i > 0) result.seconds = i == 1 ? seconds : std::min(result.seconds, seconds);
  }
  return result;
}

}  // namespace

std::vector<DecodeTime> bench_decode(const config::RunConfig& config,
                                     const std::vector<int64_t>& contexts, int64_t repetitions,
                                     CommandContext& context) {
  const at::NoGradGuard no_grad;
  agree(context.world, [&] {
    if (config.parallel.pipeline > 1) {
      throw ConfigError("bench decode: parallel.pipeline (" +
                        std::to_string(config.parallel.pipeline) +
                        "): decoding takes whole models\nhint: add parallel.pipeline=1");
    }
    for (const int64_t tokens : contexts) check_context(tokens, config.model);
  });
  Session session(config, context.world, context.ranks_on_cores, nn::train_nothing());
  session.store.initialize(config.run.seed, config.model.initializer_range);
  std::vector<DecodeTime> times;
  for (const int64_t tokens : contexts) {
    times.push_back(time_decode(session.model, tokens, repetitions));
  }
  return times;
}

}  // namespace dsmoe::train
