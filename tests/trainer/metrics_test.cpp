#include "trainer/metrics.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"

namespace {

using dsmoe::test::TempDirectory;
using dsmoe::train::MetricsFile;
using dsmoe::train::StepReport;
using nlohmann::json;

StepReport report_of(int64_t step) {
  StepReport report;
  report.step = step;
  report.loss = 1.0 / 3 + static_cast<double>(step);
  return report;
}

/// Dotted names of all values; of a list, those of its first element.
std::set<std::string> keys_of(const json& value, const std::string& prefix = "") {
  std::set<std::string> keys;
  if (value.is_array()) return keys_of(value.front(), prefix);
  if (!value.is_object()) return {prefix};
  for (const auto& [key, inner] : value.items()) {
    keys.merge(keys_of(inner, prefix.empty() ? key : prefix + "." + key));
  }
  return keys;
}

const std::set<std::string> kStepKeys = {"step",
                                         "tokens",
                                         "targets",
                                         "loss",
                                         "loss_total",
                                         "grad_norm",
                                         "lr",
                                         "seconds",
                                         "tokens_per_second",
                                         "balance.expert",
                                         "balance.device",
                                         "balance.communication",
                                         "balance.z",
                                         "balance.complementary",
                                         "load.max_vio",
                                         "load.min_vio",
                                         "load.avg_vio",
                                         "load.entropy",
                                         "load.starved",
                                         "load.received_vio",
                                         "router.entropy",
                                         "router.topk_mass",
                                         "drop.tokens",
                                         "drop.tokens_lost",
                                         "drop.mass",
                                         "load.cv",
                                         "load.dead",
                                         "load.device_vio",
                                         "drop.rate",
                                         "drop.protected",
                                         "traffic.devices_per_token",
                                         "traffic.ranks_per_token",
                                         "balance.scaled",
                                         "traffic.bytes",
                                         "traffic.forward_bytes",
                                         "traffic.backward_bytes",
                                         "traffic.bytes_bound",
                                         "traffic.metadata_bytes",
                                         "time.data",
                                         "time.forward",
                                         "time.backward",
                                         "time.communication",
                                         "time.gradient_sums",
                                         "time.optimizer",
                                         "time.metrics",
                                         "memory_bytes",
                                         "skipped"};

TEST_CASE("a step's metrics have exactly the promised keys") {
  CHECK(keys_of(json::parse(to_json(report_of(1)))) == kStepKeys);
}

TEST_CASE("layers and evaluations add their keys only where they are") {
  StepReport report = report_of(1);
  report.layers.resize(2);
  report.layers[1].layer = 4;
  report.layers[1].load.max_vio = 0.5;
  report.eval["webster"].tokens = 9;
  report.layers[0].interference = dsmoe::train::InterferenceValues{0.5, -0.25};
  report.interference = dsmoe::train::InterferenceValues{0.25, 0.75};
  const json line = json::parse(to_json(report));
  std::set<std::string> expected = kStepKeys;
  for (const char* key : {"layers.layer",
                          "layers.balance.expert",
                          "layers.balance.device",
                          "layers.balance.communication",
                          "layers.load.max_vio",
                          "layers.load.cv",
                          "layers.load.dead",
                          "layers.load.device_vio",
                          "layers.drop.rate",
                          "layers.traffic.devices_per_token",
                          "layers.balance.z",
                          "layers.balance.complementary",
                          "layers.balance.scaled",
                          "layers.interference.ratio",
                          "layers.interference.cosine",
                          "interference.ratio",
                          "interference.cosine",
                          "layers.load.min_vio",
                          "layers.load.avg_vio",
                          "layers.load.entropy",
                          "layers.load.starved",
                          "layers.load.received_vio",
                          "layers.router.entropy",
                          "layers.router.topk_mass",
                          "layers.drop.tokens",
                          "layers.drop.tokens_lost",
                          "layers.drop.mass",
                          "eval.webster.max_vio",
                          "eval.webster.drop_rate",
                          "eval.webster.specialisation",
                          "eval.webster.loss",
                          "eval.webster.perplexity",
                          "eval.webster.bits_per_byte",
                          "eval.webster.tokens"}) {
    expected.insert(key);
  }
  CHECK(keys_of(line) == expected);
  CHECK(line["layers"][1]["layer"] == 4);
  CHECK(line["layers"][1]["load"]["max_vio"] == 0.5);
  CHECK(line["eval"]["webster"]["tokens"] == 9);
  CHECK_FALSE(line["layers"][1].contains("interference"));
  report.eval["webster"].specialisation = std::nan("");  // of one domain
  CHECK_FALSE(json::parse(to_json(report))["eval"]["webster"].contains("specialisation"));
}

TEST_CASE("an evaluation with drops stands beside the one without") {
  StepReport report = report_of(1);
  report.eval["webster"].loss = 2.0;
  report.eval["webster"].with_drop.push_back({.loss = 2.5, .drop_rate = 0.1});
  const json eval = json::parse(to_json(report))["eval"]["webster"];
  CHECK(eval["loss"] == 2.0);
  CHECK(eval["with_drop"]["loss"] == 2.5);
  CHECK(eval["with_drop"]["drop_rate"] == 0.1);
}

TEST_CASE("metrics keep every bit of a double and write null for what is no number") {
  StepReport report = report_of(1);
  report.loss = 0.1 + 0.2;
  report.lr = std::numeric_limits<double>::denorm_min();
  report.grad_norm = std::numeric_limits<double>::infinity();
  report.loss_total = std::numeric_limits<double>::quiet_NaN();
  report.traffic.bytes = std::numeric_limits<int64_t>::max();
  report.skipped = true;
  const json line = json::parse(to_json(report));
  CHECK(line["loss"].get<double>() == 0.1 + 0.2);
  CHECK(line["lr"].get<double>() == std::numeric_limits<double>::denorm_min());
  CHECK(line["grad_norm"].is_null());
  CHECK(line["loss_total"].is_null());
  CHECK(line["traffic"]["bytes"] == std::numeric_limits<int64_t>::max());
  CHECK(line["skipped"] == true);
}

TEST_CASE("scalars have the names of the metrics, by group") {
  StepReport report = report_of(1);
  report.layers.resize(1);
  report.layers[0].layer = 3;
  report.layers[0].load.max_vio = 0.5;
  report.eval["webster"].loss = 2;
  report.grad_norm = std::numeric_limits<double>::quiet_NaN();
  const auto list = dsmoe::train::scalars_of(report);
  const std::map<std::string, double> scalars(list.begin(), list.end());
  CHECK(scalars.size() == list.size());
  CHECK(scalars.at("train/loss") == report.loss);
  CHECK(scalars.at("train/skipped") == 0);
  CHECK(scalars.at("traffic/bytes") == 0);
  CHECK(scalars.at("layers/3/load/max_vio") == 0.5);
  CHECK(scalars.at("eval/webster/loss") == 2);
  CHECK(scalars.count("train/grad_norm") == 0);
  CHECK(scalars.count("train/step") == 0);
}

TEST_CASE("a metrics line is in the file at once, and appending goes on where it ended") {
  const TempDirectory directory;
  const std::string path = directory / "metrics.jsonl";
  MetricsFile first(path);
  first.append(report_of(1));
  CHECK(dsmoe::train::read_file(path) == to_json(report_of(1)) + "\n");
  MetricsFile(path).append(report_of(2));
  CHECK(dsmoe::train::read_file(path) ==
        to_json(report_of(1)) + "\n" + to_json(report_of(2)) + "\n");
}

TEST_CASE("cutting metrics back removes later steps and a torn last line") {
  const TempDirectory directory;
  const std::string path = directory / "metrics.jsonl";
  {
    MetricsFile file(path);
    for (int64_t step = 1; step <= 5; ++step) file.append(report_of(step));
  }
  std::ofstream(path, std::ios::app) << R"({"step":6,"lo)";
  const auto result = dsmoe::train::cut_back(path, 3);
  CHECK(result.kept == 3);
  CHECK(result.later == 2);
  CHECK(result.damaged == 1);
  std::string expected;
  for (int64_t step = 1; step <= 3; ++step) expected += to_json(report_of(step)) + "\n";
  CHECK(dsmoe::train::read_file(path) == expected);
}

TEST_CASE("cutting metrics back keeps a whole last line that lacks its newline") {
  const TempDirectory directory;
  const std::string path = directory / "metrics.jsonl";
  std::ofstream(path) << to_json(report_of(1));
  CHECK(dsmoe::train::cut_back(path, 1).kept == 1);
  CHECK(dsmoe::train::read_file(path) == to_json(report_of(1)) + "\n");
}

TEST_CASE("there is nothing to cut back before the first run") {
  const TempDirectory directory;
  CHECK(dsmoe::train::cut_back(directory / "metrics.jsonl", 3).kept == 0);
  CHECK_THROWS_AS(MetricsFile(directory / "none/metrics.jsonl"), dsmoe::UserError);
}

}  // namespace
