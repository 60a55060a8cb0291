#include "trainer/generate.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "trainer/agreement.h"

namespace dsmoe::train {
namespace {

/// One text under way.
struct Text {
  int64_t index;
  std::vector<int64_t> pending;  ///< ids that the cache does not hold yet
  std::unique_ptr<nn::KeyValueCache> own;
  nn::KeyValueCache* cache;
  Sampler sampler;
  Generated result;
  bool done = false;
};

/// Decodes this rank's texts together, a token a step.
class Decoder {
 public:
  Decoder(nn::Model& model, const GenerateOptions& options, const TokenSink& sink)
      : model_(model), options_(options), sink_(sink) {}

  void add(int64_t index, const Prompt& prompt) {
    std::unique_ptr<nn::KeyValueCache> own;
    if (prompt.cache == nullptr) {
      own =
          std::make_unique<nn::KeyValueCache>(model_->config(), model_->dtype(), model_->device());
    }
    nn::KeyValueCache* cache = prompt.cache == nullptr ? own.get() : prompt.cache;
    const auto length = cache->length() + static_cast<int64_t>(prompt.ids.size());
    cache->reserve(std::min(length + options_.max_tokens, last_position()));
    texts_.push_back({index,
                      prompt.ids,
                      std::move(own),
                      cache,
                      Sampler(options_.sampling, index),
                      {{}, "length", 0},
                      options_.max_tokens == 0});
  }

  [[nodiscard]] bool running() const {
    return std::any_of(texts_.begin(), texts_.end(), [](const Text& t) { return !t.done; });
  }

  /// One pass over what is pending. A rank without a running text takes part with no rows.
  void step() {
    std::vector<int64_t> ids;
    std::vector<nn::Continuation> parts;
    std::vector<Text*> running;
    std::vector<int64_t> last_rows;
    for (Text& text : texts_) {
      if (text.done) continue;
      ids.insert(ids.end(), text.pending.begin(), text.pending.end());
      parts.push_back({text.cache, static_cast<int64_t>(text.pending.size())});
      running.push_back(&text);
      last_rows.push_back(static_cast<int64_t>(ids.size()) - 1);
    }
    const at::Tensor hidden_NM = model_->extend(torch::tensor(ids, at::kLong), parts);
    if (running.empty()) return;
    const at::Tensor rows = torch::tensor(last_rows, at::kLong).to(hidden_NM.device());
    const at::Tensor logits_BV = model_->logits(hidden_NM.index_select(0, rows)).cpu();
    for (size_t b = 0; b < running.size(); ++b) {
      take(*running[b], running[b]->sampler.next(logits_BV[static_cast<int64_t>(b)]));
    }
  }

  [[nodiscard]] const std::vector<Text>& texts() const { return texts_; }

 private:
  [[nodiscard]] int64_t last_position() const { return model_->config().max_position_embeddings; }

  void take(Text& text, int64_t id) {
    text.result.cache_bytes = text.cache->bytes();
    if (id == options_.eos) return stop(text);
    text.result.token_ids.push_back(id);
    if (sink_ && !sink_(text.index, id)) return stop(text);
    text.pending = {id};
    text.done = static_cast<int64_t>(text.result.token_ids.size()) >= options_.max_tokens ||
                text.cache->length() >= last_position();
  }

  static void stop(Text& text) {
    text.result.finish_reason = "stop";
    text.done = true;
  }

  nn::Model& model_;
  const GenerateOptions& options_;
  const TokenSink& sink_;
  std::vector<Text> texts_;
};

bool any_rank(bool here, parallel::Communicator& world) {
  if (world.size() == 1) return here;
  at::Tensor any = at::full({1}, here ? 1 : 0, at::kLong);
  world.all_reduce(any, parallel::ReduceOp::kMax);
  return any.item<int64_t>() != 0;
}

/// Every rank gets the result of the rank that has it.
void share(Generated& result, int64_t root, parallel::Communicator& world) {
  if (world.size() == 1) return;
  std::string text =
      nlohmann::json{result.token_ids, result.finish_reason, result.cache_bytes}.dump();
  broadcast_text(text, world, root);
  const auto json = nlohmann::json::parse(text);
  result = {json[0].get<std::vector<int64_t>>(), json[1].get<std::string>(),
            json[2].get<int64_t>()};
}

}  // namespace

std::vector<Generated> generate(nn::Model& model, parallel::Communicator& world,
                                const std::vector<Prompt>& prompts, const GenerateOptions& options,
                                const TokenSink& sink) {
  const at::NoGradGuard no_grad;
  Decoder decoder(model, options, sink);
  const auto count = static_cast<int64_t>(prompts.size());
  for (int64_t i = world.rank(); i < count; i += world.size()) {
    decoder.add(i, prompts[static_cast<size_t>(i)]);
  }
  while (any_rank(decoder.running(), world)) decoder.step();
  std::vector<Generated> results(prompts.size());
  for (const Text& text : decoder.texts()) results[static_cast<size_t>(text.index)] = text.result;
  for (int64_t i = 0; i < count; ++i) {
    share(results[static_cast<size_t>(i)], i % world.size(), world);
  }
  return results;
}

}  // namespace dsmoe::train
