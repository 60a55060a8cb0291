#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "parallel/communicator.h"
#include "parallel/nccl_group.h"
#include "parallel/nccl_watch.h"

namespace dsmoe::parallel {

/// A group that is watched as long as it lives.
class WatchedGroup final {
 public:
  template <typename... Arguments>
  explicit WatchedGroup(NcclWatch& watch, Arguments&&... arguments)
      : watch_(watch), group_(std::forward<Arguments>(arguments)...) {
    watch_.add(group_);
  }
  ~WatchedGroup() { watch_.remove(group_); }
  WatchedGroup(const WatchedGroup&) = delete;
  WatchedGroup& operator=(const WatchedGroup&) = delete;
  [[nodiscard]] NcclGroup* operator->() { return &group_; }

 private:
  NcclWatch& watch_;
  NcclGroup group_;
};

/// A tensor that a lane is to move; the lane keeps it until it has arrived.
struct LaneMessage {
  LaneMessage(at::Tensor what, DeviceStream compute) : tensor(std::move(what)), ready(compute) {}

  at::Tensor tensor;
  StreamMark ready;                ///< behind it the tensor may be read, or written
  NcclGroup::Mark done = nullptr;  ///< null: not on its way yet
};

/// The messages from one rank to another, in order, on a communicator and a stream of their own.
/// The two ranks find each other by one message on `host`; until they have, messages queue here.
class NcclLane final {
 public:
  /// One of from and to is host's own rank. Returns at once.
  NcclLane(Communicator& host, int64_t from, int64_t to, NcclWatch& watch, double timeout_seconds);

  /// Whether the ranks have found each other, so that messages no longer queue here.
  [[nodiscard]] bool joined();
  void push(std::shared_ptr<LaneMessage> message);
  /// Brings what can go on its way; never blocks.
  void progress();
  /// Throws what the lane was aborted for, and CommError where the other rank does not come within
  /// timeout_seconds.
  void check();

 private:
  [[nodiscard]] bool sends() const { return host_.rank() == from_; }
  void join();
  void start(LaneMessage& message);

  Communicator& host_;
  const int64_t from_;
  const int64_t to_;
  NcclWatch& watch_;
  const double timeout_seconds_;
  const std::chrono::steady_clock::time_point created_ = std::chrono::steady_clock::now();
  at::Tensor id_;
  std::unique_ptr<Work> id_travels_;
  std::unique_ptr<WatchedGroup> group_;
  std::deque<std::shared_ptr<LaneMessage>> waiting_;
  std::deque<std::shared_ptr<LaneMessage>> moving_;
};

/// An NcclId as a tensor on the host, and back.
[[nodiscard]] at::Tensor tensor_of(const NcclId& id);
[[nodiscard]] NcclId id_of(const at::Tensor& tensor);

}  // namespace dsmoe::parallel
