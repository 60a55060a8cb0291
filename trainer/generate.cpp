#include "trainer/generate.h"

namespace dsmoe::train {
namespace {

at::Tensor next_logits(nn::Model& model, const std::vector<int64_t>& ids) {
  const at::Tensor tokens_BT = torch::tensor(ids, at::kLong).unsqueeze(0);
  const nn::SequenceInfo alone{{0}, {false}, {}};
  const auto output = model->forward(tokens_BT, alone, /*dropping=*/false);
  const int64_t last = output.hidden_NM.size(0) - 1;
  return model->logits(output.hidden_NM.narrow(0, last, 1)).flatten().to(at::kDouble);
}

int64_t choose(const at::Tensor& logits, double temperature, at::Generator& generator) {
  if (temperature <= 0.0) return logits.argmax().item<int64_t>();
  const at::Tensor probabilities = at::softmax(logits / temperature, -1);
  return at::multinomial(probabilities, 1, /*replacement=*/true, generator).item<int64_t>();
}

}  // namespace

Generated generate(nn::Model& model, const std::vector<int64_t>& prompt,
                   const GenerateOptions& options) {
  const at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed));
  std::vector<int64_t> ids = prompt;
  Generated result{{}, "length"};
  while (static_cast<int64_t>(result.token_ids.size()) < options.max_tokens) {
    const int64_t id = choose(next_logits(model, ids), options.temperature, generator);
    if (id == options.eos) {
      result.finish_reason = "stop";
      break;
    }
    ids.push_back(id);
    result.token_ids.push_back(id);
  }
  return result;
}

}  // namespace dsmoe::train
