#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace dsmoe::config {

/// A matrix product [m, k] x [k, n] as it was measured.
struct MeasuredProduct {
  int64_t m = 1;
  int64_t k = 1;
  int64_t n = 1;
  double seconds = 0;

  bool operator==(const MeasuredProduct&) const = default;
};

/// compute: what one rank computes with, while all ranks do.
struct ComputeSpeed {
  double fp64 = 0;  ///< peak FLOP/s; 0: the rank has none of it
  double fp32 = 0;
  double bf16 = 0;
  double gemm_efficiency = 1;
  double gemm_half_size = 0;
  double attention_efficiency = 1;
  double attention_backward_efficiency = 1;
  double operation_seconds = 0;
  double overlap = 0;
  double ranks_per_core = 1;
  double stragglers = 1;
  std::vector<MeasuredProduct> products;

  [[nodiscard]] double peak(Precision precision) const;

  bool operator==(const ComputeSpeed&) const = default;
};

/// memory: of one rank.
struct MemorySpeed {
  double bytes = 0;
  double bandwidth = 0;        ///< bytes/s from and to what does not fit caches
  double cache_bandwidth = 0;  ///< bytes/s of activations between operations; 0: as bandwidth

  bool operator==(const MemorySpeed&) const = default;
};

/// A rank's way to the others.
struct LinkSpeed {
  double bandwidth = 0;         ///< bytes/s one way, all ranks sending
  double reduce_bandwidth = 0;  ///< of a ring that adds; 0: as bandwidth
  double latency = 0;           ///< seconds of a small message

  bool operator==(const LinkSpeed&) const = default;
};

/// A machine to plan for. A node holds ranks_per_node consecutive ranks.
struct ClusterConfig {
  int64_t nodes = 1;
  int64_t ranks_per_node = 1;
  ComputeSpeed compute;
  MemorySpeed memory;
  LinkSpeed intra_node;
  LinkSpeed inter_node;

  [[nodiscard]] int64_t ranks() const { return nodes * ranks_per_node; }

  bool operator==(const ClusterConfig&) const = default;
};

/// Reads a cluster file; as strict as a run's. Throws ConfigError with every error found and a last
/// line `hint:`.
[[nodiscard]] ClusterConfig read_cluster(const std::string& path);
/// The same of a text that came from `name`.
[[nodiscard]] ClusterConfig read_cluster_text(const std::string& text, const std::string& name);

/// The same machine with another number of nodes. Throws ConfigError, naming `name`, where what
/// lies between nodes is then missing.
[[nodiscard]] ClusterConfig with_nodes(ClusterConfig cluster, int64_t nodes,
                                       const std::string& name);

/// The YAML that read_cluster() reads back to the same struct.
[[nodiscard]] std::string dump(const ClusterConfig& cluster);

}  // namespace dsmoe::config
