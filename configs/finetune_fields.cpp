#include "configs/fields.h"

namespace dsmoe::config {
namespace {

constexpr const char* kPatterns =
    "embeddings, head, attention, router, dense, shared_experts, routed_experts, norms; the end of "
    "a published name as q_proj; or a glob over it as model.layers.[0-3].*";

Row<FinetuneConfig> lora_row() {
  const Rows<LoraConfig> rows{
      row("rank", &LoraConfig::rank, integer(between(1, 4096)),
          {.meaning = "width of an adapter", .symbol = "r"}),
      row("alpha", &LoraConfig::alpha, number(number_above(0.0)),
          {.meaning = "an adapter's product is multiplied by alpha / rank", .symbol = "alpha"}),
      row("dropout", &LoraConfig::dropout, number(number_between(0.0, 0.9)),
          {.meaning = "share of an adapter's inputs that a training step leaves out",
           .why = "against overfitting; 0 where feed-forward matrices are among the targets: peft "
                  "has none there"}),
      row("target", &LoraConfig::target, text_list(),
          {.meaning = std::string("matrices that get an adapter: ") + kPatterns}),
      row("init_from", &LoraConfig::init_from, optional_text(),
          {.meaning = "an adapter's directory or step to begin from; null: new adapters"}),
  };
  return row("lora", &FinetuneConfig::lora, map_of(rows), {.meaning = "method lora"});
}

Row<FinetuneConfig> esft_row() {
  const Rows<EsftConfig> rows{
      row("score", &EsftConfig::score,
          choice<ExpertScore>({{"token", ExpertScore::kToken}, {"gate", ExpertScore::kGate}}),
          {.meaning =
               "an expert's share of the chosen pairs of its layer, or its mean gate weight"}),
      row("top_p", &EsftConfig::top_p, number(number_between(0.0, 1.0)),
          {.meaning = "in each layer the experts of highest score are trained until their sum "
                      "reaches this",
           .symbol = "p",
           .why = "ESFT 0.2 with token scores, 0.1 with gate scores"}),
      row("sample_tokens", &EsftConfig::sample_tokens, integer(at_least(1)),
          {.meaning = "training tokens that are scored, up to a whole row", .unit = "tokens"}),
      row("experts", &EsftConfig::experts, optional_text(),
          {.meaning = "file that --score-only wrote, edited or not; null: scored at the start"}),
      row("train_shared_experts", &EsftConfig::train_shared_experts, boolean(),
          {.meaning = "train the shared experts too"}),
      row("train_rest", &EsftConfig::train_rest, boolean(),
          {.meaning = "train all that is no expert too"}),
  };
  return row("esft", &FinetuneConfig::esft, map_of(rows), {.meaning = "method esft"});
}

}  // namespace

Section finetune_section() {
  const Rows<FinetuneConfig> rows{
      row("method", &FinetuneConfig::method,
          choice<FinetuneMethod>({{"full", FinetuneMethod::kFull},
                                  {"lora", FinetuneMethod::kLora},
                                  {"esft", FinetuneMethod::kEsft}}),
          {.meaning = "what is trained: all weights, adapters beside frozen ones, or the experts "
                      "that the task uses"}),
      row("freeze", &FinetuneConfig::freeze, text_list(),
          {.meaning = std::string("weights that stay as they are: ") + kPatterns,
           .why = "a frozen weight has neither gradient nor optimizer state"}),
      row("lr_multipliers", &FinetuneConfig::lr_multipliers, named_numbers(number_above(0.0)),
          {.meaning = "factors on the learning rate, by pattern as in freeze; the last that fits"}),
      lora_row(),
      esft_row(),
  };
  return make_section("finetune", "Which weights are trained, and how.", &RunConfig::finetune,
                      rows);
}

RunConfig finetune_defaults() {
  RunConfig config;
  config.data.tokenizer.clear();  // that of model.init_from
  config.data.packing = Packing::kWhole;
  config.data.document_mask = true;
  config.optimizer.lr = 1e-5;
  config.optimizer.weight_decay = 0.0;
  config.balance.expert = config.balance.device = config.balance.communication = 0.0;
  config.drop.kind = DropKind::kNone;
  return config;
}

}  // namespace dsmoe::config
