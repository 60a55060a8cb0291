#include "parallel/nccl_communicator.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"
#include "parallel/nccl_lane.h"
#include "parallel/nccl_watch.h"

namespace dsmoe::parallel {
namespace {

/// What all groups of a rank share.
struct NcclContext {
  NcclContext(const DeviceHooks& what, double timeout, int64_t device)
      : hooks(what), timeout_seconds(timeout), watch(device, std::min(0.1, timeout / 4)) {}

  [[nodiscard]] DeviceStream compute() const { return hooks.compute_stream(); }
  void progress() const {
    for (NcclLane* lane : lanes) lane->progress();
  }

  const DeviceHooks hooks;
  const double timeout_seconds;
  NcclWatch watch;
  std::shared_ptr<CommStream> stream = std::make_shared<CommStream>();
  std::list<NcclLane*> lanes;
};

NcclType type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return NcclType::kFloat;
    case at::kDouble:
      return NcclType::kDouble;
    default:
      return NcclType::kInt64;
  }
}

class DoneWork final : public Work {
 public:
  bool poll() override { return true; }
  void wait() override {}
};

/// An operation on the common stream.
class StreamWork final : public Work {
 public:
  StreamWork(std::shared_ptr<NcclContext> context, NcclGroup& group, const char* operation,
             NcclGroup::Mark mark, at::Tensor output, at::Tensor input = {})
      : context_(std::move(context)),
        group_(group),
        call_{operation},
        mark_(std::move(mark)),
        output_(std::move(output)),
        input_(std::move(input)) {}
  // The memory goes back to the computing stream, which must not use it before.
  ~StreamWork() override {
    if (mark_ && std::uncaught_exceptions() == 0) mark_->hold(context_->compute());
  }
  StreamWork(const StreamWork&) = delete;
  StreamWork& operator=(const StreamWork&) = delete;

  bool poll() override {
    if (!mark_) return true;
    context_->progress();
    group_.watch_and_check(call_);
    return mark_->passed();
  }
  void wait() override {
    if (!mark_) return;
    group_.watch_and_check(call_);
    std::exchange(mark_, nullptr)->hold(context_->compute());
    output_.reset();
    input_.reset();
  }

 private:
  std::shared_ptr<NcclContext> context_;
  NcclGroup& group_;
  NcclCall call_;
  NcclGroup::Mark mark_;
  at::Tensor output_;
  at::Tensor input_;
};

class MessageWork final : public Work {
 public:
  MessageWork(std::shared_ptr<NcclContext> context, NcclLane& lane,
              std::shared_ptr<LaneMessage> message)
      : context_(std::move(context)), lane_(lane), message_(std::move(message)) {}

  bool poll() override {
    if (!message_) return true;
    context_->progress();
    lane_.check();
    return message_->done && message_->done->passed();
  }
  void wait() override {
    if (!message_) return;
    while (!message_->done) {
      context_->progress();
      lane_.check();
      std::this_thread::yield();
    }
    lane_.check();
    message_->done->hold(context_->compute());
    message_.reset();
  }

 private:
  std::shared_ptr<NcclContext> context_;
  NcclLane& lane_;
  std::shared_ptr<LaneMessage> message_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::shared_ptr<NcclContext> context, std::unique_ptr<Communicator> owned,
                   Communicator& host)
      : context_(std::move(context)), owned_(std::move(owned)), host_(host) {
    at::Tensor id = tensor_of(host_.rank() == 0 ? make_nccl_id() : NcclId{});
    host_.broadcast(id, 0);
    group_ = std::make_unique<WatchedGroup>(context_->watch,
                                            NcclMember{host_.name(), host_.rank(), host_.size()},
                                            id_of(id), context_->stream, context_->timeout_seconds);
    (*group_)->wait_until_joined();
  }
  ~NcclCommunicator() override {
    for (const auto& [edge, lane] : lanes_) context_->lanes.remove(lane.get());
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  [[nodiscard]] int64_t rank() const override { return host_.rank(); }
  [[nodiscard]] int64_t size() const override { return host_.size(); }
  [[nodiscard]] const std::string& name() const override { return host_.name(); }
  [[nodiscard]] bool serves(const at::Tensor& tensor) const override {
    return tensor.is_cpu() || context_->hooks.on_device(tensor);
  }

  void progress() override {
    context_->progress();
    host_.progress();
  }

  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override {
    check_all_to_all(*this, output, input, output_split_sizes, input_split_sizes);
    if (!on_device(input)) {
      return host_.all_to_all_async(output, input, output_split_sizes, input_split_sizes);
    }
    std::vector<NcclPiece> pieces;
    add_pieces(pieces, output.mutable_data_ptr(), output_split_sizes, row_bytes(output), false);
    add_pieces(pieces, const_cast<void*>(input.const_data_ptr()), input_split_sizes,
               row_bytes(input), true);
    const NcclCall call{"all_to_all", static_cast<int64_t>(input.nbytes())};
    auto mark = (*group_)->exchange(call, pieces, StreamMark(context_->compute()));
    return under_way("all_to_all", std::move(mark), output, input);
  }

  void all_reduce(at::Tensor& tensor, ReduceOp op) override {
    check_all_reduce(*this, tensor);
    if (!on_device(tensor)) return host_.all_reduce(tensor, op);
    if (tensor.numel() == 0) return;
    hold((*group_)->all_reduce(tensor.mutable_data_ptr(), tensor.numel(), type_of(tensor),
                               op == ReduceOp::kMax, StreamMark(context_->compute())));
  }

  std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, ReduceOp op) override {
    check_all_reduce(*this, tensor);
    if (!on_device(tensor)) return host_.all_reduce_async(tensor, op);
    if (tensor.numel() == 0) return std::make_unique<DoneWork>();
    auto mark = (*group_)->all_reduce(tensor.mutable_data_ptr(), tensor.numel(), type_of(tensor),
                                      op == ReduceOp::kMax, StreamMark(context_->compute()));
    return under_way("all_reduce", std::move(mark), tensor);
  }

  std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) override {
    check_reduce(*this, tensor, root);
    if (!on_device(tensor)) return host_.reduce_async(tensor, root);
    if (tensor.numel() == 0) return std::make_unique<DoneWork>();
    void* const output = rank() == root ? tensor.mutable_data_ptr() : nullptr;
    auto mark = (*group_)->reduce(tensor.const_data_ptr(), output, tensor.numel(), type_of(tensor),
                                  root, StreamMark(context_->compute()));
    return under_way("reduce", std::move(mark), tensor);
  }

  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override {
    check_reduce_scatter(*this, output, input);
    if (!on_device(input)) return host_.reduce_scatter(output, input);
    if (input.numel() == 0) return;
    hold((*group_)->reduce_scatter(output.mutable_data_ptr(), input.const_data_ptr(),
                                   output.numel(), type_of(input),
                                   StreamMark(context_->compute())));
  }

  void all_gather(at::Tensor& output, const at::Tensor& input) override {
    check_all_gather(*this, output, input);
    if (!on_device(input)) return host_.all_gather(output, input);
    if (input.numel() == 0) return;
    hold((*group_)->all_gather(output.mutable_data_ptr(), input.const_data_ptr(),
                               static_cast<int64_t>(input.nbytes()),
                               StreamMark(context_->compute())));
  }

  void broadcast(at::Tensor& tensor, int64_t root) override {
    check_broadcast(*this, tensor, root);
    if (!on_device(tensor)) return host_.broadcast(tensor, root);
    if (tensor.numel() == 0) return;
    hold((*group_)->broadcast(tensor.mutable_data_ptr(), static_cast<int64_t>(tensor.nbytes()),
                              root, StreamMark(context_->compute())));
  }

  // What the device has been given is done before the ranks meet.
  void barrier() override {
    finish_stream(context_->compute());
    (*group_)->watch_and_check({"barrier"});
    host_.barrier();
  }

  // What this rank computes may wait, on the device, for a message whose sender waits for one that
  // is still queued here: were the host then held up, nobody would bring that on its way.
  void connect(c10::IntArrayRef to, c10::IntArrayRef from) override {
    std::vector<NcclLane*> lanes;
    for (const int64_t peer : to) lanes.push_back(&lane_of(rank(), peer));
    for (const int64_t peer : from) lanes.push_back(&lane_of(peer, rank()));
    const auto ready = [](NcclLane* lane) {
      if (lane->joined()) return true;
      lane->check();
      return false;
    };
    // All are asked each time: peers wait for one lane or another of these.
    const auto count = static_cast<std::ptrdiff_t>(lanes.size());
    while (std::count_if(lanes.begin(), lanes.end(), ready) < count) std::this_thread::yield();
  }

  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override {
    check_message(*this, "send", tensor, to);
    if (!on_device(tensor)) return host_.send_async(tensor, to);
    return start_message(tensor, rank(), to);
  }

  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override {
    check_message(*this, "receive", tensor, from);
    if (!on_device(tensor)) return host_.receive_async(tensor, from);
    return start_message(tensor, from, rank());
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override {
    auto part = host_.split(color, key, name);
    Communicator& host = *part;
    return std::make_unique<NcclCommunicator>(context_, std::move(part), host);
  }

 private:
  [[nodiscard]] bool on_device(const at::Tensor& tensor) const {
    return context_->hooks.on_device(tensor);
  }

  std::unique_ptr<Work> under_way(const char* operation, NcclGroup::Mark mark,
                                  const at::Tensor& output, const at::Tensor& input = {}) {
    return std::make_unique<StreamWork>(context_, *group_->operator->(), operation, std::move(mark),
                                        output, input);
  }

  void hold(const NcclGroup::Mark& mark) const { mark->hold(context_->compute()); }

  static void add_pieces(std::vector<NcclPiece>& pieces, void* data, c10::IntArrayRef rows,
                         int64_t row, bool sends) {
    auto* next = static_cast<char*>(data);
    for (size_t peer = 0; peer < rows.size(); ++peer) {
      pieces.push_back({next, rows[peer] * row, static_cast<int64_t>(peer), sends});
      next += rows[peer] * row;
    }
  }

  std::unique_ptr<Work> start_message(const at::Tensor& tensor, int64_t from, int64_t to) {
    if (tensor.numel() == 0) return std::make_unique<DoneWork>();
    NcclLane& lane = lane_of(from, to);
    auto message = std::make_shared<LaneMessage>(tensor, context_->compute());
    lane.push(message);
    return std::make_unique<MessageWork>(context_, lane, std::move(message));
  }

  NcclLane& lane_of(int64_t from, int64_t to) {
    auto& lane = lanes_[{from, to}];
    if (!lane) {
      lane =
          std::make_unique<NcclLane>(host_, from, to, context_->watch, context_->timeout_seconds);
      context_->lanes.push_back(lane.get());
    }
    return *lane;
  }

  std::shared_ptr<NcclContext> context_;
  std::unique_ptr<Communicator> owned_;
  Communicator& host_;
  std::unique_ptr<WatchedGroup> group_;
  std::map<std::pair<int64_t, int64_t>, std::unique_ptr<NcclLane>> lanes_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const DeviceHooks& hooks,
                                                     double timeout_seconds) {
  auto context = std::make_shared<NcclContext>(hooks, timeout_seconds, current_device());
  return std::make_unique<NcclCommunicator>(std::move(context), nullptr, host);
}

}  // namespace dsmoe::parallel
