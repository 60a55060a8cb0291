#include "configs/expert_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "configs/checks.h"
#include "configs/field.h"
#include "configs/text_file.h"
#include "configs/yaml_reader.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {
namespace {

Rows<LayerChoice> layer_rows(const ModelConfig& model) {
  return {
      row("train", &LayerChoice::train, integer_list(between(0, model.n_routed_experts - 1)), {}),
      row("reached", &LayerChoice::reached, number(number_at_least(0.0)), {}),
      row("scores", &LayerChoice::scores, number_list(number_at_least(0.0)), {})};
}

using Layers = std::map<int64_t, LayerChoice>;

/// Layers under their numbers in the model.
Codec<Layers> layers_codec(const ModelConfig& model) {
  Codec<Layers> codec;
  codec.parse = [model](const Node& node, const std::string& key, Layers& out, ErrorList& errors) {
    if (!expect_map(node, key, errors)) return;
    report_duplicates(node, key, errors);
    for (size_t i = 0; i < node.items.size(); ++i) {
      const std::string& name = node.keys[i];
      const bool digits = name.find_first_not_of("0123456789") == std::string::npos;
      const int64_t layer = digits ? std::atoll(name.c_str()) : -1;
      if (layer < 0 || layer >= model.num_hidden_layers || !model.is_moe_layer(layer)) {
        errors.add(node.items[i].where, dotted(key, name), "is no layer with routed experts");
        continue;
      }
      read_map(layer_rows(model), node.items[i], dotted(key, name), out[layer], errors);
    }
  };
  codec.print = [](const Layers&) { return Node{}; };
  return codec;
}

Rows<ExpertChoice> choice_rows(const ModelConfig& model) {
  return {
      row("score", &ExpertChoice::score,
          choice<ExpertScore>({{"token", ExpertScore::kToken}, {"gate", ExpertScore::kGate}}), {}),
      row("top_p", &ExpertChoice::top_p, number(number_between(0.0, 1.0)), {}),
      row("tokens", &ExpertChoice::tokens, integer(at_least(0)), {}),
      row("model", &ExpertChoice::model, optional_text(), {}),
      row("layers", &ExpertChoice::layers, layers_codec(model), {})};
}

double rounded(double score) { return std::round(score * 1e4) / 1e4; }

std::string list_text(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
  return "[" + text + "]";
}

std::string list_text(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : ", ") + number_text(value);
  return "[" + text + "]";
}

}  // namespace

bool ExpertChoice::trains(int64_t layer, int64_t expert) const {
  const auto found = layers.find(layer);
  if (found == layers.end()) return false;
  const auto& train = found->second.train;
  return std::find(train.begin(), train.end(), expert) != train.end();
}

LayerChoice choose_experts(std::vector<double> scores, double top_p) {
  LayerChoice made;
  for (double& score : scores) score = rounded(score);
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto score_of = [&](int64_t e) { return scores[static_cast<size_t>(e)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score_of(a) > score_of(b); });
  for (const int64_t expert : order) {
    if (made.reached >= top_p) break;
    made.train.push_back(expert);
    made.reached += score_of(expert);
  }
  made.scores = std::move(scores);
  return made;
}

std::string write_expert_choice(const ExpertChoice& choice) {
  std::string text =
      "# Which experts finetune.method esft trains: give this file as finetune.esft.experts.\n"
      "# Only `train` counts; edit it as you like. A layer that is left out trains none.\n";
  text += std::string("score: ") + (choice.score == ExpertScore::kToken ? "token" : "gate") + "\n";
  text += "top_p: " + number_text(choice.top_p) + "\n";
  text += "tokens: " + std::to_string(choice.tokens) + "\n";
  text += "model: " + flow_text(string_node(choice.model)) + "\nlayers:\n";
  for (const auto& [layer, chosen] : choice.layers) {
    text += "  " + std::to_string(layer) + ":\n    train: " + list_text(chosen.train) +
            "\n    reached: " + number_text(rounded(chosen.reached)) +
            "\n    scores: " + list_text(chosen.scores) + "\n";
  }
  return text;
}

ExpertChoice read_expert_choice(const std::string& path, const ModelConfig& model) {
  ExpertChoice choice;
  ErrorList errors;
  read_map(choice_rows(model), parse_yaml(read_text_file(path), path), "", choice, errors);
  int64_t trained = 0;
  for (const auto& [layer, chosen] : choice.layers) {
    trained += static_cast<int64_t>(chosen.train.size());
  }
  if (errors.empty()) {
    require(trained > 0, path + ": no layer trains an expert (layers.*.train)", errors);
  }
  errors.throw_if_any();
  return choice;
}

}  // namespace dsmoe::config
