#include "trainer/step_line.h"

#include <cmath>

#include "trainer/human.h"

namespace dsmoe::train {
namespace {

constexpr const char* kBar = " | ";

std::string number(double value, int decimals, size_t width) {
  return pad_left(fixed(value, decimals), width);
}

std::string milliseconds(double seconds, size_t width) {
  return number(seconds * 1e3, /*decimals=*/0, width);
}

std::string progress(int64_t step, int64_t total_steps) {
  const std::string total = std::to_string(total_steps);
  const double share = static_cast<double>(step) / static_cast<double>(total_steps);
  return "step " + pad_left(std::to_string(step), total.size()) + "/" + total + " " +
         number(100 * share, /*decimals=*/1, /*width=*/5) + "%";
}

std::string balance(const BalanceValues& values) {
  return "aux e" + fixed(values.expert, 2) + " d" + fixed(values.device, 2) + " c" +
         fixed(values.communication, 2);
}

std::string optimisation(const StepReport& report) {
  return "gnorm " + number(report.grad_norm, 2, 6) + kBar + "lr " + scientific(report.lr);
}

std::string speed(const StepReport& report) {
  return "tok/s " + pad_left(human_count(report.tokens_per_second), 6) + kBar +
         milliseconds(report.seconds, 6) + " ms (comm " +
         milliseconds(report.time.communication, 4) + ", data " +
         milliseconds(report.time.data, 4) + ")";
}

std::string routing(const StepReport& report) {
  return "vio " + number(report.load.max_vio, 2, 5) + " dead " +
         pad_left(std::to_string(report.load.dead), 3) + " drop " +
         number(100 * report.drop.rate, 1, 5) + "% dev/tok " +
         fixed(report.traffic.devices_per_token, 2);
}

/// What dropping would cost, where it was asked for.
std::string with_drop(const EvalReport& report) {
  std::string text;
  for (const EvalReport& dropped : report.with_drop) {
    text += kBar + ("with drop " + fixed(dropped.loss, 4)) + " (" +
            fixed(100 * dropped.drop_rate, 1) + "%)";
  }
  return text;
}

}  // namespace

std::string step_line(const StepReport& report, int64_t total_steps, double eta_seconds) {
  const double memory = static_cast<double>(report.memory_bytes);
  return progress(report.step, total_steps) + kBar + "loss " + number(report.loss, 4, 7) + kBar +
         balance(report.balance) + kBar + optimisation(report) + kBar + speed(report) + kBar +
         "mem " + pad_left(human_bytes(memory), 10) + kBar + routing(report) + kBar + "eta " +
         pad_left(human_duration(eta_seconds), 6) + (report.skipped ? " | SKIPPED" : "");
}

std::string eval_line(const std::string& name, const EvalReport& report) {
  return "eval " + name + kBar + "loss " + fixed(report.loss, 4) + kBar + "perplexity " +
         fixed(report.perplexity, 2) + kBar + fixed(report.bits_per_byte, 4) + " bits/byte" + kBar +
         with_separators(report.tokens) + " tokens" + with_drop(report);
}

std::string position_line(const PositionLoss& one) {
  return "positions " + std::to_string(one.from) + " to " + std::to_string(one.to - 1) + kBar +
         "loss " + fixed(one.loss, 4) + kBar + "perplexity " + fixed(std::exp(one.loss), 2) + kBar +
         with_separators(one.tokens) + " tokens";
}

}  // namespace dsmoe::train
