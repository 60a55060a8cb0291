#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "modules/loss_units.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/human.h"
#include "trainer/load_stats.h"
#include "trainer/noise_floor.h"
#include "trainer/ratio.h"
#include "trainer/route_logits.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::ordered_json;

struct RouteCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  std::string logits_path;
  std::string config_path;
  std::vector<std::string> overrides;
};

Verb RouteCommand::verb() {
  return {"route",
          "replay a routing policy on recorded router logits",
          {{"logits", &logits_path, "safetensors: `logits` [sequences, tokens, experts]",
            /*required=*/true},
           {"config", &config_path, "YAML file: model, balance, drop, batch.pool, run.seed",
            /*required=*/true},
           {"overrides", &overrides, "key=value..."},
           json_argument(*this)}};
}

/// Nested lists of a tensor's numbers.
template <class T>
Json nested(const at::Tensor& tensor) {
  if (tensor.dim() == 0) return tensor.item<T>();
  Json list = Json::array();
  for (int64_t i = 0; i < tensor.size(0); ++i) list.push_back(nested<T>(tensor[i]));
  return list;
}

/// [N, K] as [sequences, tokens, K].
at::Tensor by_sequence(const at::Tensor& x_NK, const RecordedLogits& recorded) {
  return x_NK.unflatten(0, recorded.logits_STE.sizes().slice(0, 2));
}

std::vector<int64_t> list_of(const at::Tensor& counts) {
  const at::Tensor flat = counts.contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

/// Everything counted once more before dropping and over all groups, whatever balance asks for.
struct Load {
  std::vector<int64_t> experts;
  std::vector<int64_t> devices;
  std::vector<int64_t> visits;
};

Load load_of_routing(const RoutedLogits& routed, const config::ModelConfig& model) {
  const nn::LossUnits all{nn::Segments({0, routed.routing.experts_NK.size(0)}), {0}, 1};
  const at::Tensor pairs_E = nn::count_pairs(routed.routing.experts_NK, {}, all, model)[0];
  return {list_of(pairs_E), list_of(pairs_E.view({model.n_group, -1}).sum(1)),
          list_of(nn::count_visits(routed.routing.experts_NK, {}, all, model)[0])};
}

double mean_loss(const at::Tensor& loss_U, int64_t units) {
  return ratio(loss_U.sum().item<double>(), units);
}

Json losses_json(const RoutedLogits& routed) {
  Json json = {{"expert", mean_loss(routed.losses.expert_U, routed.units)},
               {"device", mean_loss(routed.losses.device_U, routed.units)},
               {"communication", mean_loss(routed.losses.communication_U, routed.units)},
               {"z", mean_loss(routed.losses.z_U, routed.units)}};
  if (routed.losses.complementary_U.defined()) {
    json["complementary"] = mean_loss(routed.losses.complementary_U, routed.units);
  }
  return json;
}

Json report(const RecordedLogits& recorded, const RoutedLogits& routed,
            const config::ModelConfig& model) {
  const Load load = load_of_routing(routed, model);
  return {{"experts", nested<int64_t>(by_sequence(routed.routing.experts_NK, recorded))},
          {"weights", nested<double>(by_sequence(routed.routing.weights_NK, recorded))},
          {"kept", nested<bool>(by_sequence(routed.kept_NK, recorded))},
          {"counts", {{"expert", load.experts}, {"device", load.devices}, {"visits", load.visits}}},
          {"loss", losses_json(routed)}};
}

void load_rows(Table& table, const RoutedLogits& routed, const config::ModelConfig& model) {
  const Load load = load_of_routing(routed, model);
  const int64_t tokens = routed.routing.experts_NK.size(0);
  const LoadValues values = load_of(load.experts, load.visits);
  const LoadValues floor = noise_floor(model, tokens).load;
  const auto beside = [](double value, double chance) {
    return fixed(value, 4) + " (by chance " + fixed(chance, 4) + ")";
  };
  table.section("load");
  table.row("max violation", beside(values.max_vio, floor.max_vio));
  table.row("of device groups", beside(values.device_vio, floor.device_vio));
  table.row("of received rows", beside(values.received_vio, floor.received_vio));
  table.row("cv", beside(values.cv, floor.cv));
  table.row("dead experts", std::to_string(values.dead));
  int64_t visits = 0;
  for (const int64_t count : load.visits) visits += count;
  table.row("groups per token", fixed(ratio(visits, tokens), 4));
  const int64_t dropped = routed.kept_NK.logical_not().sum().item<int64_t>();
  table.row("dropped pairs", fixed(100 * ratio(dropped, routed.kept_NK.numel()), 2) + " %");
}

std::string text(const RoutedLogits& routed, const config::ModelConfig& model) {
  Table table;
  table.section("balance losses (1: uniform)");
  const Json losses = losses_json(routed);
  for (const auto& [name, value] : losses.items()) {
    table.row(name, fixed(value.get<double>(), 4));
  }
  load_rows(table, routed, model);
  return table.text();
}

int RouteCommand::run(CommandContext& context) {
  const config::RunConfig config = resolve_on_all(config_path, overrides, context);
  agree(context.world, [&] {
    if (!context.first()) return;
    const RecordedLogits recorded = read_logits(logits_path, config.model);
    const RoutedLogits routed = route_logits(recorded, config);
    if (json) {
      std::fputs((report(recorded, routed, config.model).dump() + "\n").c_str(), stdout);
    } else {
      context.console.info(text(routed, config.model));
    }
  });
  return 0;
}

}  // namespace

std::unique_ptr<Command> route_command() { return std::make_unique<RouteCommand>(); }

}  // namespace dsmoe::train
