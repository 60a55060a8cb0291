#include "configs/cluster_fields.h"

namespace dsmoe::config {
namespace {

Rows<MeasuredProduct> product_rows() {
  return {
      row("m", &MeasuredProduct::m, integer(count_from(1)), {.meaning = "rows of the result"}),
      row("k", &MeasuredProduct::k, integer(count_from(1)), {.meaning = "summed over"}),
      row("n", &MeasuredProduct::n, integer(count_from(1)), {.meaning = "columns of the result"}),
      row("seconds", &MeasuredProduct::seconds, number(number_at_least(0)),
          {.meaning = "time of one product", .unit = "s"}),
  };
}

Rows<ComputeSpeed> compute_rows() {
  const auto speed = number(number_at_least(0));
  const auto share = number(number_between(0, 1));
  return {
      row("fp64", &ComputeSpeed::fp64, speed,
          {.meaning = "peak of one rank; 0: none", .unit = "FLOP/s"}),
      row("fp32", &ComputeSpeed::fp32, speed,
          {.meaning = "peak of one rank; 0: none", .unit = "FLOP/s"}),
      row("bf16", &ComputeSpeed::bf16, speed,
          {.meaning = "peak of one rank; 0: none", .unit = "FLOP/s"}),
      row("gemm_efficiency", &ComputeSpeed::gemm_efficiency, share,
          {.meaning = "share of the peak that large matrix products reach"}),
      row("gemm_half_size", &ComputeSpeed::gemm_half_size, speed,
          {.meaning = "a product whose smallest side is this long reaches half of that"}),
      row("attention_efficiency", &ComputeSpeed::attention_efficiency, share,
          {.meaning = "share of the peak that the attention core reaches in its forward pass, by "
                      "the operations of the causal half"}),
      row("attention_backward_efficiency", &ComputeSpeed::attention_backward_efficiency, share,
          {.meaning = "the same of its backward pass, by twice these operations"}),
      row("operation_seconds", &ComputeSpeed::operation_seconds, speed,
          {.meaning = "time that an operation takes whatever its size", .unit = "s"}),
      row("overlap", &ComputeSpeed::overlap, share,
          {.meaning = "share of the time of shared experts in which rows travel, and of a backward "
                      "pass in which gradients are summed"}),
      row("ranks_per_core", &ComputeSpeed::ranks_per_core, number(number_at_least(1)),
          {.meaning = "ranks that take turns on what one of them computes with",
           .why = "above 1 where more ranks than cores were measured: what waits leaves its turn "
                  "to the others"}),
      row("stragglers", &ComputeSpeed::stragglers, number(number_at_least(1)),
          {.meaning = "how many times as long ranks take that wait for each other every few "
                      "milliseconds, as each of them by itself",
           .why = "above 1 where other work disturbs the ranks"}),
      row("products", &ComputeSpeed::products, list_of_maps(product_rows()),
          {.meaning = "matrix products as they were measured; those of like shape are corrected by "
                      "them"}),
  };
}

Rows<MemorySpeed> memory_rows() {
  const auto speed = number(number_at_least(0));
  return {
      row("bytes", &MemorySpeed::bytes, speed, {.meaning = "of one rank", .unit = "bytes"}),
      row("bandwidth", &MemorySpeed::bandwidth, speed,
          {.meaning = "of large arrays, read and written, all ranks at a time", .unit = "bytes/s"}),
      row("cache_bandwidth", &MemorySpeed::cache_bandwidth, speed,
          {.meaning = "of activations that the next operation finds in a cache; 0: as bandwidth",
           .unit = "bytes/s"}),
  };
}

Rows<LinkSpeed> link_rows() {
  const auto speed = number(number_at_least(0));
  return {
      row("bandwidth", &LinkSpeed::bandwidth, speed,
          {.meaning = "of a rank one way, all ranks sending", .unit = "bytes/s"}),
      row("reduce_bandwidth", &LinkSpeed::reduce_bandwidth, speed,
          {.meaning = "of a ring that adds what it passes on; 0: as bandwidth", .unit = "bytes/s"}),
      row("latency", &LinkSpeed::latency, speed, {.meaning = "of a small message", .unit = "s"}),
  };
}

}  // namespace

const Rows<ClusterConfig>& cluster_rows() {
  static const Rows<ClusterConfig> rows{
      row("nodes", &ClusterConfig::nodes, integer(count_from(1)), {.meaning = "hosts"}),
      row("ranks_per_node", &ClusterConfig::ranks_per_node, integer(count_from(1)),
          {.meaning = "consecutive ranks of a host"}),
      row("compute", &ClusterConfig::compute, map_of(compute_rows()),
          {.meaning = "what one rank computes with, while all do"}),
      row("memory", &ClusterConfig::memory, map_of(memory_rows()),
          {.meaning = "the memory of one rank"}),
      row("intra_node", &ClusterConfig::intra_node, map_of(link_rows()),
          {.meaning = "a rank's way to those of its host"}),
      row("inter_node", &ClusterConfig::inter_node, map_of(link_rows()),
          {.meaning = "a rank's way to those of other hosts"}),
  };
  return rows;
}

}  // namespace dsmoe::config
