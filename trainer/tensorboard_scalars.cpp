#include "trainer/tensorboard_scalars.h"

#include <string>
#include <utility>
#include <vector>

namespace dsmoe::train {
namespace {

using Scalars = std::vector<std::pair<std::string, double>>;

/// Adds scalars below a prefix.
class Group {
 public:
  Group(Scalars& scalars, std::string prefix) : scalars_(scalars), prefix_(std::move(prefix)) {}

  void add(const std::string& name, double value) { scalars_.emplace_back(prefix_ + name, value); }
  void add(const BalanceValues& balance) {
    add("balance/expert", balance.expert);
    add("balance/device", balance.device);
    add("balance/communication", balance.communication);
  }
  void add(const LoadValues& load) {
    add("load/max_vio", load.max_vio);
    add("load/cv", load.cv);
    add("load/dead", static_cast<double>(load.dead));
    add("load/device_vio", load.device_vio);
  }

 private:
  Scalars& scalars_;
  std::string prefix_;
};

void add_training(Group train, const StepReport& report) {
  train.add("loss", report.loss);
  train.add("loss_total", report.loss_total);
  train.add("grad_norm", report.grad_norm);
  train.add("lr", report.lr);
  train.add("tokens_per_second", report.tokens_per_second);
  train.add("seconds", report.seconds);
  train.add("memory_bytes", static_cast<double>(report.memory_bytes));
  train.add("skipped", report.skipped ? 1.0 : 0.0);
}

}  // namespace

void write_scalars(TensorBoardWriter& writer, const StepReport& report) {
  Scalars scalars;
  add_training(Group(scalars, "train/"), report);
  Group all(scalars, "");
  all.add(report.balance);
  all.add(report.load);
  all.add("drop/rate", report.drop_rate);
  all.add("traffic/devices_per_token", report.traffic.devices_per_token);
  all.add("traffic/bytes", static_cast<double>(report.traffic.bytes));
  for (const LayerReport& layer : report.layers) {
    Group group(scalars, "layer_" + std::to_string(layer.layer) + "/");
    group.add(layer.balance);
    group.add(layer.load);
    group.add("drop/rate", layer.drop_rate);
    group.add("devices_per_token", layer.devices_per_token);
  }
  for (const auto& [name, eval] : report.eval) {
    Group group(scalars, "eval/" + name + "/");
    group.add("loss", eval.loss);
    group.add("bits_per_byte", eval.bits_per_byte);
  }
  writer.add_scalars(report.step, scalars);
}

}  // namespace dsmoe::train
