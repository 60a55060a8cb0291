#include "parallel/nccl_lane.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

// A lane waits on the device while others work: it takes few of its thread blocks.
constexpr int kBlocks = 4;

NcclCall call_of(bool sends, const LaneMessage& message) {
  return {sends ? "send" : "receive", static_cast<int64_t>(message.tensor.nbytes())};
}

}  // namespace

at::Tensor tensor_of(const NcclId& id) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(id.size())}, at::kByte);
  std::copy(id.begin(), id.end(), tensor.mutable_data_ptr<uint8_t>());
  return tensor;
}

NcclId id_of(const at::Tensor& tensor) {
  NcclId id{};
  std::copy_n(tensor.const_data_ptr<uint8_t>(), id.size(), id.begin());
  return id;
}

NcclLane::NcclLane(Communicator& host, int64_t from, int64_t to, NcclWatch& watch,
                   double timeout_seconds)
    : host_(host), from_(from), to_(to), watch_(watch), timeout_seconds_(timeout_seconds) {
  id_ = sends() ? tensor_of(make_nccl_id()) : tensor_of({});
  id_travels_ = sends() ? host_.send_async(id_, to_) : host_.receive_async(id_, from_);
  if (sends()) join();
}

void NcclLane::join() {
  NcclMember member{host_.name() + ": " + std::to_string(from_) + " to " + std::to_string(to_),
                    sends() ? 0 : 1, 2};
  group_ =
      std::make_unique<WatchedGroup>(watch_, std::move(member), id_of(id_),
                                     std::make_shared<CommStream>(), timeout_seconds_, kBlocks);
}

bool NcclLane::joined() {
  if (!id_travels_->poll()) return false;
  if (!group_) join();
  return (*group_)->joined();
}

void NcclLane::start(LaneMessage& message) {
  auto* data = message.tensor.mutable_data_ptr();
  const NcclCall call = call_of(sends(), message);
  message.done =
      (*group_)->exchange(call, {{data, call.bytes, sends() ? 1 : 0, sends()}}, message.ready);
}

void NcclLane::push(std::shared_ptr<LaneMessage> message) {
  waiting_.push_back(std::move(message));
  progress();
}

void NcclLane::progress() {
  while (!moving_.empty() && moving_.front()->done->passed()) moving_.pop_front();
  while (!waiting_.empty() && joined()) {
    start(*waiting_.front());
    moving_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void NcclLane::check() {
  if (group_) return (*group_)->watch_and_check({sends() ? "send" : "receive"});
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - created_;
  if (waited.count() < timeout_seconds_) return;
  throw CommError("receive on group '" + host_.name() + "', rank " + std::to_string(to_) +
                  ": nothing came from rank " + std::to_string(from_) + " within " +
                  std::to_string(timeout_seconds_) + " seconds");
}

}  // namespace dsmoe::parallel
