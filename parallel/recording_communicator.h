#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// What one operation of one group has cost this rank since the last reset.
struct OperationCount {
  int64_t calls = 0;
  int64_t bytes = 0;     ///< sent to other ranks; see RecordingCommunicator
  double seconds = 0.0;  ///< inside the calls, waits and polls

  OperationCount& operator+=(const OperationCount& other);
};
using OperationCounts = std::map<std::string, OperationCount>;
/// By group name, then by operation: all_to_all, all_reduce, reduce, reduce_scatter, all_gather,
/// broadcast, barrier, send, receive, split.
using TrafficLog = std::map<std::string, OperationCounts>;

/// Passes everything on and counts it. Bytes are those that leave this rank, for n ranks:
///   all_to_all   rows for other ranks * bytes of a row
///   all_reduce       2 (n - 1) / n * bytes of the tensor: the ring's share; what does not divide
///   is
///                    spread so that all ranks together have sent 2 (n - 1) * bytes
///   reduce_scatter   (n - 1) * bytes of the output: the ring's share
///   reduce           bytes of the tensor, 0 on the root
///   all_gather       (n - 1) * bytes of the input
///   broadcast        (n - 1) * bytes of the tensor on the root, 0 elsewhere
///   send             bytes of the tensor
///   receive, barrier, split   0
/// What split() returns is recorded too, in the same log, under its own group name; groups of
/// equal name share their counters. One thread per object and its splits.
class RecordingCommunicator final : public Communicator {
 public:
  /// `inner` is borrowed.
  explicit RecordingCommunicator(Communicator& inner);
  RecordingCommunicator(std::unique_ptr<Communicator> inner, std::shared_ptr<TrafficLog> log);

  /// The counts of this group's name.
  [[nodiscard]] OperationCounts counters() const { return (*log_)[name()]; }
  /// The counts of all groups that share this log.
  [[nodiscard]] const TrafficLog& log() const { return *log_; }
  /// Works of this group that somebody still holds: operations under way.
  [[nodiscard]] int64_t under_way() const { return held_.use_count() - 1; }
  /// Sets all counts of the log to zero. Works under way add their time to the new counts.
  void reset();

  [[nodiscard]] int64_t rank() const override { return inner_.rank(); }
  [[nodiscard]] int64_t size() const override { return inner_.size(); }
  [[nodiscard]] const std::string& name() const override { return inner_.name(); }
  void progress() override { inner_.progress(); }
  [[nodiscard]] bool serves(const at::Tensor& tensor) const override {
    return inner_.serves(tensor);
  }
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
  void connect(c10::IntArrayRef to, c10::IntArrayRef from) override { inner_.connect(to, from); }
  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override;
  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override;

 private:
  OperationCount& counter(const std::string& operation) { return (*log_)[name()][operation]; }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  std::shared_ptr<TrafficLog> log_;
  std::shared_ptr<int> held_ = std::make_shared<int>(0);  ///< also by each work
};

/// The sum over groups of one operation, for example all bytes of "all_to_all".
[[nodiscard]] OperationCount total(const TrafficLog& log, const std::string& operation);

}  // namespace dsmoe::parallel
