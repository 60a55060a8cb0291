#include "parallel/thread_communicator.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>
#include <sstream>
#include <utility>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"
#include "parallel/thread_hub.h"

namespace dsmoe::parallel {
namespace {

std::vector<std::byte> bytes_of(const at::Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.nbytes());
  if (!bytes.empty()) std::memcpy(bytes.data(), tensor.const_data_ptr(), bytes.size());
  return bytes;
}

void copy_bytes(at::Tensor& target, int64_t offset, const std::byte* source, int64_t bytes) {
  if (bytes == 0) return;
  std::memcpy(static_cast<std::byte*>(target.mutable_data_ptr()) + offset, source,
              static_cast<size_t>(bytes));
}

template <typename... Parts>
std::string signature(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// The posts' numbers from `offset` bytes on, one rank after the other.
template <typename Scalar>
void reduce_as(at::Tensor& tensor, const std::vector<ThreadPost>& posts, size_t offset,
               ReduceOp op) {
  auto* result = static_cast<Scalar*>(tensor.mutable_data_ptr());
  std::vector<Scalar> values(static_cast<size_t>(tensor.numel()));
  if (values.empty()) return;
  for (size_t peer = 0; peer < posts.size(); ++peer) {
    std::memcpy(values.data(), posts[peer].bytes.data() + offset, tensor.nbytes());
    for (size_t i = 0; i < values.size(); ++i) {
      if (peer == 0) {
        result[i] = values[i];
      } else {
        result[i] = op == ReduceOp::kSum ? result[i] + values[i] : std::max(result[i], values[i]);
      }
    }
  }
}

void reduce_in_rank_order(at::Tensor& tensor, const std::vector<ThreadPost>& posts, size_t offset,
                          ReduceOp op) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return reduce_as<float>(tensor, posts, offset, op);
    case at::kDouble:
      return reduce_as<double>(tensor, posts, offset, op);
    default:
      return reduce_as<int64_t>(tensor, posts, offset, op);
  }
}

class ThreadWork final : public Work {
 public:
  ThreadWork(std::shared_ptr<ThreadHub> hub, int64_t rank, int64_t number, at::Tensor output,
             c10::IntArrayRef output_split_sizes)
      : hub_(std::move(hub)),
        rank_(rank),
        number_(number),
        output_(std::move(output)),
        output_split_sizes_(output_split_sizes.vec()) {}

  bool poll() override {
    if (!done_ && hub_->complete(rank_, number_)) wait();
    return done_;
  }

  void wait() override {
    if (done_) return;
    const auto posts = hub_->collect(rank_, number_);
    int64_t offset = 0;
    for (size_t peer = 0; peer < posts->size(); ++peer)
      offset += receive((*posts)[peer], peer, offset);
    done_ = true;
  }

 private:
  int64_t receive(const ThreadPost& post, size_t peer, int64_t offset) {
    const auto me = static_cast<size_t>(rank_);
    const auto& sent = post.split_sizes;
    if (sent[me] != output_split_sizes_[peer]) throw_mismatch(peer, sent[me]);
    const int64_t row = row_bytes(output_);
    const int64_t before =
        std::accumulate(sent.begin(), sent.begin() + rank_, static_cast<int64_t>(0));
    copy_bytes(output_, offset, post.bytes.data() + before * row, sent[me] * row);
    return sent[me] * row;
  }

  [[noreturn]] void throw_mismatch(size_t peer, int64_t sent) const {
    throw CommError(signature("all_to_all failed on group '", hub_->name(), "', rank ", rank_,
                              " of ", hub_->size(), ": rank ", peer, " sends ", sent,
                              " rows, output_split_sizes expects ", output_split_sizes_[peer]));
  }

  std::shared_ptr<ThreadHub> hub_;
  int64_t rank_;
  int64_t number_;
  at::Tensor output_;
  std::vector<int64_t> output_split_sizes_;
  bool done_ = false;
};

/// A reduction into `tensor`; undefined: the result is another rank's.
class ReduceWork final : public Work {
 public:
  ReduceWork(std::shared_ptr<ThreadHub> hub, int64_t rank, int64_t number, at::Tensor tensor,
             ReduceOp op)
      : hub_(std::move(hub)), rank_(rank), number_(number), tensor_(std::move(tensor)), op_(op) {}

  bool poll() override {
    if (!done_ && hub_->complete(rank_, number_)) wait();
    return done_;
  }

  void wait() override {
    if (done_) return;
    const auto posts = hub_->collect(rank_, number_);
    if (tensor_.defined()) reduce_in_rank_order(tensor_, *posts, /*offset=*/0, op_);
    done_ = true;
  }

 private:
  std::shared_ptr<ThreadHub> hub_;
  int64_t rank_;
  int64_t number_;
  at::Tensor tensor_;
  ReduceOp op_;
  bool done_ = false;
};

/// A copy was taken: nothing is waited for.
class SentWork final : public Work {
 public:
  bool poll() override { return true; }
  void wait() override {}
};

std::string message_of(const at::Tensor& tensor) {
  return signature(tensor.scalar_type(), " ", tensor.sizes());
}

class ReceiveWork final : public Work {
 public:
  ReceiveWork(std::shared_ptr<ThreadHub> hub, int64_t from, int64_t to, at::Tensor output)
      : hub_(std::move(hub)),
        from_(from),
        to_(to),
        number_(hub_->expect(from, to)),
        output_(std::move(output)) {}

  bool poll() override {
    if (!done_ && hub_->arrived(from_, to_, number_)) wait();
    return done_;
  }

  void wait() override {
    if (done_) return;
    const ThreadPost message = hub_->take(from_, to_, number_);
    if (message.signature != message_of(output_)) {
      throw CommError(signature("receive from rank ", from_, " failed on group '", hub_->name(),
                                "', rank ", to_, " of ", hub_->size(), ": the message is ",
                                message.signature, ", the tensor ", message_of(output_)));
    }
    copy_bytes(output_, 0, message.bytes.data(), static_cast<int64_t>(message.bytes.size()));
    done_ = true;
  }

 private:
  std::shared_ptr<ThreadHub> hub_;
  int64_t from_;
  int64_t to_;
  int64_t number_;
  at::Tensor output_;
  bool done_ = false;
};

/// The ranks of my color, ordered by key, then by rank.
std::vector<int64_t> members_of(const std::vector<ThreadPost>& posts, int64_t color) {
  std::vector<int64_t> members;
  for (size_t peer = 0; peer < posts.size(); ++peer) {
    if (posts[peer].split_sizes[0] == color) members.push_back(static_cast<int64_t>(peer));
  }
  std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
    return posts[static_cast<size_t>(a)].split_sizes[1] <
           posts[static_cast<size_t>(b)].split_sizes[1];
  });
  return members;
}

}  // namespace

ThreadCommunicator::ThreadCommunicator(std::shared_ptr<ThreadHub> hub, int64_t rank)
    : hub_(std::move(hub)), rank_(rank) {}

// While an exception unwinds, abandon() will say why; "left the group" would hide the cause.
ThreadCommunicator::~ThreadCommunicator() {
  if (std::uncaught_exceptions() == 0) hub_->leave(rank_);
}

int64_t ThreadCommunicator::size() const { return hub_->size(); }

const std::string& ThreadCommunicator::name() const { return hub_->name(); }

std::unique_ptr<Work> ThreadCommunicator::all_to_all_async(at::Tensor& output,
                                                           const at::Tensor& input,
                                                           c10::IntArrayRef output_split_sizes,
                                                           c10::IntArrayRef input_split_sizes) {
  check_all_to_all(*this, output, input, output_split_sizes, input_split_sizes);
  const auto call =
      signature("all_to_all of ", input.scalar_type(), " rows of ", input.sizes().slice(1));
  const auto number = hub_->post(rank_, {call, bytes_of(input), input_split_sizes.vec()});
  return std::make_unique<ThreadWork>(hub_, rank_, number, output, output_split_sizes);
}

void ThreadCommunicator::all_reduce(at::Tensor& tensor, ReduceOp op) {
  all_reduce_async(tensor, op)->wait();
}

std::unique_ptr<Work> ThreadCommunicator::all_reduce_async(at::Tensor& tensor, ReduceOp op) {
  check_all_reduce(*this, tensor);
  const auto call = signature("all_reduce ", op == ReduceOp::kSum ? "sum" : "max", " of ",
                              tensor.scalar_type(), " ", tensor.sizes());
  const auto number = hub_->post(rank_, {call, bytes_of(tensor), {}});
  return std::make_unique<ReduceWork>(hub_, rank_, number, tensor, op);
}

std::unique_ptr<Work> ThreadCommunicator::reduce_async(at::Tensor& tensor, int64_t root) {
  check_reduce(*this, tensor, root);
  const auto call =
      signature("reduce to ", root, " of ", tensor.scalar_type(), " ", tensor.sizes());
  const auto number = hub_->post(rank_, {call, bytes_of(tensor), {}});
  return std::make_unique<ReduceWork>(hub_, rank_, number, rank_ == root ? tensor : at::Tensor(),
                                      ReduceOp::kSum);
}

void ThreadCommunicator::reduce_scatter(at::Tensor& output, const at::Tensor& input) {
  check_reduce_scatter(*this, output, input);
  const auto call = signature("reduce_scatter of ", input.scalar_type(), " ", input.sizes());
  const auto posts = hub_->collect(rank_, hub_->post(rank_, {call, bytes_of(input), {}}));
  const size_t offset = static_cast<size_t>(rank_) * output.nbytes();
  reduce_in_rank_order(output, *posts, offset, ReduceOp::kSum);
}

void ThreadCommunicator::all_gather(at::Tensor& output, const at::Tensor& input) {
  check_all_gather(*this, output, input);
  const auto call = signature("all_gather of ", input.scalar_type(), " ", input.sizes());
  const auto posts = hub_->collect(rank_, hub_->post(rank_, {call, bytes_of(input), {}}));
  const auto block = static_cast<int64_t>(input.nbytes());
  for (size_t peer = 0; peer < posts->size(); ++peer) {
    copy_bytes(output, static_cast<int64_t>(peer) * block, (*posts)[peer].bytes.data(), block);
  }
}

void ThreadCommunicator::broadcast(at::Tensor& tensor, int64_t root) {
  check_broadcast(*this, tensor, root);
  const auto call =
      signature("broadcast from ", root, " of ", tensor.scalar_type(), " ", tensor.sizes());
  auto bytes = rank_ == root ? bytes_of(tensor) : std::vector<std::byte>();
  const auto posts = hub_->collect(rank_, hub_->post(rank_, {call, std::move(bytes), {}}));
  if (rank_ == root) return;
  const auto& sent = (*posts)[static_cast<size_t>(root)].bytes;
  copy_bytes(tensor, 0, sent.data(), static_cast<int64_t>(sent.size()));
}

void ThreadCommunicator::barrier() { hub_->collect(rank_, hub_->post(rank_, {"barrier", {}, {}})); }

std::unique_ptr<Work> ThreadCommunicator::send_async(const at::Tensor& tensor, int64_t to) {
  check_message(*this, "send", tensor, to);
  hub_->send(rank_, to, {message_of(tensor), bytes_of(tensor), {}});
  return std::make_unique<SentWork>();
}

std::unique_ptr<Work> ThreadCommunicator::receive_async(at::Tensor& tensor, int64_t from) {
  check_message(*this, "receive", tensor, from);
  return std::make_unique<ReceiveWork>(hub_, from, rank_, tensor);
}

std::unique_ptr<Communicator> ThreadCommunicator::split(int64_t color, int64_t key,
                                                        const std::string& name) {
  check_split(*this, color);
  const auto number = hub_->post(rank_, {"split", {}, {color, key}});
  const auto members = members_of(*hub_->collect(rank_, number), color);
  const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
  auto hub = hub_->child(number, color, static_cast<int64_t>(members.size()), name);
  return std::make_unique<ThreadCommunicator>(std::move(hub), place);
}

void ThreadCommunicator::abandon(const std::string& reason) { hub_->fail(reason); }

std::vector<std::unique_ptr<ThreadCommunicator>> make_thread_world(int64_t size,
                                                                   double timeout_seconds) {
  TORCH_CHECK(size > 0, "a world of ", size, " threads");
  auto state = std::make_shared<ThreadWorldState>();
  state->timeout_seconds = timeout_seconds;
  auto hub = std::make_shared<ThreadHub>(std::move(state), size, "world");
  std::vector<std::unique_ptr<ThreadCommunicator>> ranks;
  for (int64_t rank = 0; rank < size; ++rank) {
    ranks.push_back(std::make_unique<ThreadCommunicator>(hub, rank));
  }
  return ranks;
}

}  // namespace dsmoe::parallel
