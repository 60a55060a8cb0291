#pragma once

#include "configs/cluster_config.h"
#include "trainer/plan_work.h"

namespace dsmoe::train {

/// Seconds that one rank of a cluster takes. docs/planner.md states the model.
class Roof {
 public:
  /// cluster is borrowed. precision: what is computed with; the cluster has a peak of it.
  Roof(const config::ClusterConfig& cluster, config::Precision precision);

  /// Products, attention, what is read and written beside them, and a constant a call.
  [[nodiscard]] double seconds(const Work& work) const;
  /// The slower of arithmetic and memory, corrected by the measured product of the nearest shape.
  [[nodiscard]] double seconds(const ProductWork& product) const;
  /// Reading and writing large arrays.
  [[nodiscard]] double seconds_of_bytes(double bytes) const;

 private:
  [[nodiscard]] double law(const ProductWork& product) const;
  [[nodiscard]] double correction(const ProductWork& product) const;

  const config::ClusterConfig& cluster_;
  double peak_;
  double width_;  ///< bytes of a number
  double gradient_width_;
};

}  // namespace dsmoe::train
