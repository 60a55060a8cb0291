#include "configs/cluster_config.h"

#include <filesystem>

#include "configs/errors.h"
#include "tests/support/catch.h"

namespace {

using dsmoe::ConfigError;
using dsmoe::config::ClusterConfig;
using dsmoe::config::read_cluster_text;

const std::string kSmall =
    "compute: {fp32: 1.0e12}\n"
    "memory: {bytes: 1.0e9, bandwidth: 1.0e10}\n";

/// The message of a text that is refused.
std::string refusal(const std::string& text) {
  try {
    static_cast<void>(read_cluster_text(text, "c.yaml"));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a cluster file's numbers arrive, and what it leaves out is the default") {
  const ClusterConfig cluster = read_cluster_text(
      kSmall +
          "nodes: 2\nranks_per_node: 4\nintra_node: {bandwidth: 2.0e9, latency: 1.0e-6}\n"
          "inter_node: {bandwidth: 1.0e9}\n",
      "c.yaml");
  CHECK(cluster.ranks() == 8);
  CHECK(cluster.compute.peak(dsmoe::config::Precision::kFp32) == 1.0e12);
  CHECK(cluster.compute.peak(dsmoe::config::Precision::kBf16) == 0);
  CHECK(cluster.compute.gemm_efficiency == 1);
  CHECK(cluster.intra_node.latency == 1.0e-6);
}

TEST_CASE("the dump of a cluster reads back the same") {
  ClusterConfig cluster = read_cluster_text(kSmall, "c.yaml");
  cluster.nodes = 3;
  cluster.inter_node.bandwidth = 4.5e9;
  cluster.compute.products = {{8, 16, 32, 1.5e-6}, {1, 2, 3, 0.1}};
  CHECK(read_cluster_text(dump(cluster), "dump") == cluster);
}

TEST_CASE("an unknown key of a cluster file is refused with its line and the nearest name") {
  const std::string text = refusal(kSmall + "intra_node: {bandwith: 1.0}\n");
  CHECK(
      text.find("c.yaml:3: intra_node.bandwith: unknown key, did you mean intra_node.bandwidth?") !=
      std::string::npos);
  CHECK(text.find("hint:") != std::string::npos);
}

TEST_CASE("a cluster that nothing can be planned with says what is missing") {
  CHECK(refusal("memory: {bytes: 1.0, bandwidth: 1.0}\n").find("compute.bf16 are all 0") !=
        std::string::npos);
  CHECK(refusal("compute: {fp32: 1.0}\n").find("memory.bytes (0.0) must be above 0") !=
        std::string::npos);
  const std::string text = refusal(kSmall + "nodes: 2\n");
  CHECK(text.find("inter_node.bandwidth (0.0) must be above 0 with nodes (2)") !=
        std::string::npos);
}

TEST_CASE("every cluster file of the repository reads") {
  int64_t count = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(DSMOE_SOURCE_DIR) + "/configs/clusters")) {
    INFO(file.path().string());
    CHECK(dsmoe::config::read_cluster(file.path().string()).ranks() > 0);
    ++count;
  }
  CHECK(count > 0);
}

}  // namespace
