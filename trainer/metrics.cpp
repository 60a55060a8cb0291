#include "trainer/metrics.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "trainer/atomic_file.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::ordered_json;

Json balance_json(const BalanceValues& balance) {
  return {{"expert", balance.expert},
          {"device", balance.device},
          {"communication", balance.communication},
          {"z", balance.z},
          {"complementary", balance.complementary}};
}

Json load_json(const LoadValues& load) {
  return {{"max_vio", load.max_vio},          {"min_vio", load.min_vio},
          {"avg_vio", load.avg_vio},          {"cv", load.cv},
          {"entropy", load.entropy},          {"dead", load.dead},
          {"starved", load.starved},          {"device_vio", load.device_vio},
          {"received_vio", load.received_vio}};
}

Json router_json(const RouterValues& router) {
  return {{"entropy", router.entropy}, {"topk_mass", router.topk_mass}};
}

Json drop_json(const DropValues& drop) {
  return {{"rate", drop.rate},
          {"tokens", drop.tokens},
          {"tokens_lost", drop.tokens_lost},
          {"mass", drop.mass}};
}

Json traffic_json(const TrafficValues& traffic) {
  Json json{{"devices_per_token", traffic.devices_per_token},
            {"ranks_per_token", traffic.ranks_per_token},
            {"bytes", traffic.bytes},
            {"forward_bytes", traffic.forward_bytes},
            {"backward_bytes", traffic.backward_bytes},
            {"bytes_bound", traffic.bytes_bound},
            {"metadata_bytes", traffic.metadata_bytes}};
  if (traffic.inter_node_bytes) json["inter_node_bytes"] = *traffic.inter_node_bytes;
  if (traffic.intra_node_bytes) json["intra_node_bytes"] = *traffic.intra_node_bytes;
  return json;
}

Json time_json(const PhaseSeconds& time) {
  return {{"data", time.data},
          {"forward", time.forward},
          {"backward", time.backward},
          {"communication", time.communication},
          {"gradient_sums", time.gradient_sums},
          {"optimizer", time.optimizer},
          {"metrics", time.metrics}};
}

Json interference_json(const InterferenceValues& values) {
  return {{"ratio", values.ratio}, {"cosine", values.cosine}};
}

Json layer_json(const LayerReport& layer) {
  Json json = {{"layer", layer.layer},
               {"balance", balance_json(layer.balance)},
               {"load", load_json(layer.load)},
               {"router", router_json(layer.router)},
               {"drop", drop_json(layer.drop)},
               {"traffic", {{"devices_per_token", layer.devices_per_token}}}};
  json["balance"]["scaled"] = layer.balance_scaled;
  if (layer.interference) json["interference"] = interference_json(*layer.interference);
  return json;
}

Json eval_json(const EvalReport& eval) {
  Json json = {{"loss", eval.loss},
               {"perplexity", eval.perplexity},
               {"bits_per_byte", eval.bits_per_byte},
               {"tokens", eval.tokens},
               {"max_vio", eval.max_vio},
               {"drop_rate", eval.drop_rate}};
  if (std::isfinite(eval.specialisation)) json["specialisation"] = eval.specialisation;
  for (const EvalReport& dropped : eval.with_drop) json["with_drop"] = eval_json(dropped);
  return json;
}

Json report_json(const StepReport& report) {
  Json json = {{"step", report.step},
               {"tokens", report.tokens},
               {"targets", report.targets},
               {"loss", report.loss},
               {"loss_total", report.loss_total},
               {"grad_norm", report.grad_norm},
               {"lr", report.lr},
               {"seconds", report.seconds},
               {"tokens_per_second", report.tokens_per_second},
               {"balance", balance_json(report.balance)},
               {"load", load_json(report.load)},
               {"router", router_json(report.router)},
               {"drop", drop_json(report.drop)},
               {"traffic", traffic_json(report.traffic)},
               {"time", time_json(report.time)},
               {"memory_bytes", report.memory_bytes},
               {"skipped", report.skipped}};
  json["balance"]["scaled"] = report.loss_total - report.loss;
  json["drop"]["protected"] = report.protected_share;
  if (report.interference) json["interference"] = interference_json(*report.interference);
  for (const LayerReport& layer : report.layers) json["layers"].push_back(layer_json(layer));
  for (const auto& [name, eval] : report.eval) json["eval"][name] = eval_json(eval);
  return json;
}

using Scalars = std::vector<std::pair<std::string, double>>;

/// Adds the numbers below `value`, whose name so far is `prefix`.
void flatten(const Json& value, const std::string& prefix, Scalars& scalars) {
  for (const auto& [key, inner] : value.items()) {
    const std::string name = prefix + key;
    if (inner.is_object()) flatten(inner, name + "/", scalars);
    if (inner.is_number()) scalars.emplace_back(name, inner.get<double>());
    if (inner.is_boolean()) scalars.emplace_back(name, inner.get<bool>() ? 1.0 : 0.0);
  }
}

enum class Line { kKept, kLater, kDamaged };

Line judge(std::string_view line, int64_t step) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto found = json.find("step");
  if (found == json.end() || !found->is_number_integer()) return Line::kDamaged;
  return found->get<int64_t>() > step ? Line::kLater : Line::kKept;
}

}  // namespace

std::string to_json(const StepReport& report) {
  return report_json(report).dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                                  Json::error_handler_t::replace);
}

std::vector<std::pair<std::string, double>> scalars_of(const StepReport& report) {
  const Json all = report_json(report);
  Json by_name = Json::object();
  for (const auto& [key, value] : all.items()) {
    if (key == "layers" || key == "step") continue;
    (value.is_object() ? by_name[key] : by_name["train"][key]) = value;
  }
  for (const LayerReport& layer : report.layers) {
    Json values = layer_json(layer);
    values.erase("layer");
    by_name["layers"][std::to_string(layer.layer)] = values;
  }
  Scalars scalars;
  flatten(by_name, "", scalars);
  std::erase_if(scalars, [](const auto& scalar) { return !std::isfinite(scalar.second); });
  return scalars;
}

CutBack cut_back(const std::string& path, int64_t step) {
  CutBack result;
  if (!std::filesystem::exists(path)) return result;
  const std::string text = read_file(path);
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const Line verdict = judge(line, step);
    if (verdict == Line::kKept) kept.append(line).push_back('\n');
    ++(verdict == Line::kKept    ? result.kept
       : verdict == Line::kLater ? result.later
                                 : result.damaged);
    begin = end + 1;
  }
  if (kept != text) write_file_atomically(path, kept);
  return result;
}

MetricsFile::MetricsFile(const std::string& path) : file_(FileHandle::open_for_appending(path)) {}

void MetricsFile::append(const StepReport& report) {
  const std::string line = to_json(report) + "\n";
  file_.append(line.data(), line.size());
}

}  // namespace dsmoe::train
