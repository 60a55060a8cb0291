#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

class ThreadHub;

/// One rank of a group whose ranks are threads of this process. Used by the tests, where it is
/// stricter than MPI: ranks that make different calls, or split sizes that do not match, are a
/// CommError instead of a hang, and an output is written in wait() or poll(), never before.
/// Reductions add in rank order. Each object belongs to one thread.
class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadHub> hub, int64_t rank);
  ~ThreadCommunicator() override;
  ThreadCommunicator(const ThreadCommunicator&) = delete;
  ThreadCommunicator& operator=(const ThreadCommunicator&) = delete;

  [[nodiscard]] int64_t rank() const override { return rank_; }
  [[nodiscard]] int64_t size() const override;
  [[nodiscard]] const std::string& name() const override;
  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override;
  void all_reduce(at::Tensor& tensor, ReduceOp op) override;
  std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, ReduceOp op) override;
  std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) override;
  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override;
  void all_gather(at::Tensor& output, const at::Tensor& input) override;
  void broadcast(at::Tensor& tensor, int64_t root) override;
  void barrier() override;
  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override;
  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override;

  /// This rank gives up: every peer that waits, in this group or in any split from the same
  /// world, now or later, throws CommError with `reason`.
  void abandon(const std::string& reason);

 private:
  std::shared_ptr<ThreadHub> hub_;
  int64_t rank_;
};

/// The `size` ranks of a new world, to be handed to one thread each. A rank that waits longer
/// than `timeout_seconds` for a peer throws CommError.
[[nodiscard]] std::vector<std::unique_ptr<ThreadCommunicator>> make_thread_world(
    int64_t size, double timeout_seconds = 120.0);

}  // namespace dsmoe::parallel
