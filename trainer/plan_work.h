#pragma once

#include <cstdint>
#include <vector>

#include "configs/run_config.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Matrix products [m, k] x [k, n], `count` of them. `adds`: the result is added to a gradient.
struct ProductWork {
  double m = 0;
  double k = 0;
  double n = 0;
  double count = 1;
  bool adds = false;
};

/// What one rank does in one pass over a part of the model.
struct Work {
  std::vector<ProductWork> products;
  double attention_forward = 0;   ///< operations of the attention core, 2 a multiply-add
  double attention_backward = 0;  ///< twice those of its forward pass
  double bytes = 0;               ///< read and written beside the products
  double operations = 0;          ///< calls

  Work& operator+=(const Work& other);
};

/// The three passes of a micro-batch over a part.
struct PassWork {
  Work forward;
  Work input_gradient;
  Work weight_gradient;

  PassWork& operator+=(const PassWork& other);
};

/// A layer of the model on one rank. What is computed again counts as input_gradient.
struct LayerWork {
  PassWork attention;  ///< with its norm and the residual
  PassWork router;     ///< with the norm before it; nothing of a dense layer
  PassWork beside;     ///< the shared experts; of a dense layer its feed-forward part
  PassWork experts;    ///< routed, with gathering and summing their rows
};

/// Work of a full micro-batch on one rank; experts loaded alike.
/// docs/planner.md states every term.
[[nodiscard]] LayerWork layer_work(const config::RunConfig& config,
                                   const parallel::Topology& topology, bool moe);
/// Loss, with the logits' three products in its forward pass, and the final norm.
[[nodiscard]] PassWork head_work(const config::RunConfig& config);
[[nodiscard]] PassWork embedding_work(const config::RunConfig& config);

}  // namespace dsmoe::train
