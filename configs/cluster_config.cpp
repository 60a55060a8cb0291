#include "configs/cluster_config.h"

#include "configs/checks.h"
#include "configs/cluster_fields.h"
#include "configs/text_file.h"
#include "configs/yaml_reader.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {
namespace {

void require_positive(double value, const std::string& key, const std::string& name,
                      const std::string& why, ErrorList& errors) {
  require(value > 0, name + ": " + key + " (" + number_text(value) + ") must be above 0" + why,
          errors);
}

void check_cluster(const ClusterConfig& c, const std::string& name, ErrorList& errors) {
  require(c.compute.fp64 > 0 || c.compute.fp32 > 0 || c.compute.bf16 > 0,
          name + ": compute.fp64, compute.fp32 and compute.bf16 are all 0: one must be above 0",
          errors);
  require_positive(c.compute.gemm_efficiency, "compute.gemm_efficiency", name, "", errors);
  require_positive(c.compute.attention_efficiency, "compute.attention_efficiency", name, "",
                   errors);
  require_positive(c.compute.attention_backward_efficiency, "compute.attention_backward_efficiency",
                   name, "", errors);
  require_positive(c.memory.bytes, "memory.bytes", name, "", errors);
  require_positive(c.memory.bandwidth, "memory.bandwidth", name, "", errors);
  if (c.ranks_per_node > 1) {
    require_positive(c.intra_node.bandwidth, "intra_node.bandwidth", name,
                     " with " + shown("ranks_per_node", c.ranks_per_node), errors);
  }
  if (c.nodes > 1) {
    require_positive(c.inter_node.bandwidth, "inter_node.bandwidth", name,
                     " with " + shown("nodes", c.nodes), errors);
  }
}

}  // namespace

double ComputeSpeed::peak(Precision precision) const {
  if (precision == Precision::kFp64) return fp64;
  return precision == Precision::kFp32 ? fp32 : bf16;
}

ClusterConfig read_cluster_text(const std::string& text, const std::string& name) {
  ClusterConfig cluster;
  ErrorList errors;
  read_map(cluster_rows(), parse_yaml(text, name), "", cluster, errors);
  errors.throw_if_any();
  check_cluster(cluster, name, errors);
  errors.throw_if_any();
  return cluster;
}

ClusterConfig read_cluster(const std::string& path) {
  return read_cluster_text(read_text_file(path), path);
}

ClusterConfig with_nodes(ClusterConfig cluster, int64_t nodes, const std::string& name) {
  cluster.nodes = nodes;
  ErrorList errors;
  check_cluster(cluster, name, errors);
  errors.throw_if_any();
  return cluster;
}

std::string dump(const ClusterConfig& cluster) {
  return block_text(write_map(cluster_rows(), cluster));
}

}  // namespace dsmoe::config
