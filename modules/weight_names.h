#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsmoe::nn {

/// A published tensor as a contiguous piece of one of our parameters.
struct PublishedSlice {
  std::string name;  ///< as in the published checkpoints
  std::vector<int64_t> shape;
  int64_t offset = 0;  ///< elements from the parameter's start
};

/// The published tensors inside the parameter at `path` (as named_parameters() tells it) of the
/// given shape. Stacked parameters are cut: gate_up_proj into gate_proj and up_proj, experts into
/// one tensor an expert, numbered from `first_expert`. An adapter's matrices have peft's names, an
/// expert's as if it were a module of its own.
[[nodiscard]] std::vector<PublishedSlice> published_slices(const std::string& path,
                                                           const std::vector<int64_t>& shape,
                                                           int64_t first_expert);

/// Whether the parameter at `path` holds routed experts, sharded over the expert group.
[[nodiscard]] bool is_expert_parameter(const std::string& path);

}  // namespace dsmoe::nn
