#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "configs/run_config.h"
#include "modules/progress.h"
#include "parallel/process_groups.h"
#include "trainer/gradient_buckets.h"

namespace dsmoe::train {

/// Sums a step's gradients over the ranks that hold the same parameters, bucket by bucket while the
/// backward passes of the last micro-batch go on; without parallel.overlap all after them. Where
/// ranks share the optimizer's state, each bucket's sum goes to the owners of its numbers. At most
/// four buckets are under way, or a larger part of a layer. One for
/// each step; the model tells it how far a pass is.
class GradientSums {
 public:
  /// Everything borrowed, for as long as the sums live.
  GradientSums(const config::RunConfig& config, nn::Model& model, nn::ParameterStore& store,
               parallel::ProcessGroups& groups);
  ~GradientSums();
  GradientSums(const GradientSums&) = delete;
  GradientSums& operator=(const GradientSums&) = delete;

  /// A pass through a slice begins, after which its gradients are complete.
  void begin_last_pass(int64_t slice);
  /// The gradients of a slice are complete.
  void end_last_pass(int64_t slice);
  /// Starts what is left, and waits for all. Collective over data and expert_replicas.
  void finish();
  /// How long the calculation stood still for all this, until now.
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  void left_layer(int64_t layer);
  void start_complete(size_t slice, int64_t layer);
  void start(const GradientBucket& bucket);
  void start_range(nn::ParameterGroup group, const GradientRange& range);
  /// Waits for the oldest sums while too many bytes are under way beside `part`.
  void make_room(const at::Tensor& part);
  void add(const at::Tensor& part, std::unique_ptr<parallel::Work> work);
  void poll();

  /// Under way; the work keeps the numbers.
  struct Sum {
    std::unique_ptr<parallel::Work> work;
    int64_t bytes;
  };

  nn::Model& model_;
  nn::ParameterStore& store_;
  parallel::ProcessGroups& groups_;
  bool overlaps_;  ///< on all ranks alike, though one may have no bucket
  std::vector<GradientBucket> buckets_;
  std::vector<bool> started_;
  std::deque<Sum> under_way_;
  int64_t bytes_under_way_ = 0;
  int64_t most_under_way_ = 0;
  int64_t passing_ = -1;  ///< the slice of the last pass under way
  std::unique_ptr<nn::ProgressScope> progress_;
  double seconds_ = 0;
};

}  // namespace dsmoe::train
