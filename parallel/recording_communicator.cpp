#include "parallel/recording_communicator.h"

#include <chrono>
#include <utility>

#include "parallel/communicator_checks.h"

namespace dsmoe::parallel {
namespace {

/// Adds the time until its destruction to one operation.
class Stopwatch final {
 public:
  Stopwatch(TrafficLog& log, const std::string& group, const char* operation)
      : log_(log), group_(group), operation_(operation) {}
  ~Stopwatch() {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
    log_[group_][operation_].seconds += passed.count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  TrafficLog& log_;
  const std::string& group_;
  const char* operation_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class RecordedWork final : public Work {
 public:
  RecordedWork(std::unique_ptr<Work> inner, std::shared_ptr<TrafficLog> log,
               std::shared_ptr<int> held, std::string group, const char* operation)
      : inner_(std::move(inner)),
        log_(std::move(log)),
        held_(std::move(held)),
        group_(std::move(group)),
        operation_(operation) {}

  bool poll() override {
    const Stopwatch stopwatch(*log_, group_, operation_);
    return inner_->poll();
  }
  void wait() override {
    const Stopwatch stopwatch(*log_, group_, operation_);
    inner_->wait();
  }

 private:
  std::unique_ptr<Work> inner_;
  std::shared_ptr<TrafficLog> log_;
  std::shared_ptr<int> held_;
  std::string group_;
  const char* operation_;
};

int64_t bytes_of(const at::Tensor& tensor) { return static_cast<int64_t>(tensor.nbytes()); }

/// The n-ths of a byte of all ranks make whole ones on the last.
int64_t ring_bytes(const at::Tensor& tensor, const Communicator& ranks) {
  return (2 * (ranks.size() - 1) * bytes_of(tensor) + ranks.rank()) / ranks.size();
}

}  // namespace

OperationCount& OperationCount::operator+=(const OperationCount& other) {
  calls += other.calls;
  bytes += other.bytes;
  seconds += other.seconds;
  return *this;
}

RecordingCommunicator::RecordingCommunicator(Communicator& inner)
    : inner_(inner), log_(std::make_shared<TrafficLog>()) {}

RecordingCommunicator::RecordingCommunicator(std::unique_ptr<Communicator> inner,
                                             std::shared_ptr<TrafficLog> log)
    : owned_(std::move(inner)), inner_(*owned_), log_(std::move(log)) {}

void RecordingCommunicator::reset() { log_->clear(); }

std::unique_ptr<Work> RecordingCommunicator::all_to_all_async(at::Tensor& output,
                                                              const at::Tensor& input,
                                                              c10::IntArrayRef output_split_sizes,
                                                              c10::IntArrayRef input_split_sizes) {
  const Stopwatch stopwatch(*log_, name(), "all_to_all");
  auto work = inner_.all_to_all_async(output, input, output_split_sizes, input_split_sizes);
  const int64_t kept = input_split_sizes[static_cast<size_t>(rank())];
  counter("all_to_all") += {1, (input.size(0) - kept) * row_bytes(input), 0.0};
  return std::make_unique<RecordedWork>(std::move(work), log_, held_, name(), "all_to_all");
}

void RecordingCommunicator::all_reduce(at::Tensor& tensor, ReduceOp op) {
  const Stopwatch stopwatch(*log_, name(), "all_reduce");
  inner_.all_reduce(tensor, op);
  counter("all_reduce") += {1, ring_bytes(tensor, *this), 0.0};
}

std::unique_ptr<Work> RecordingCommunicator::all_reduce_async(at::Tensor& tensor, ReduceOp op) {
  const Stopwatch stopwatch(*log_, name(), "all_reduce");
  auto work = inner_.all_reduce_async(tensor, op);
  counter("all_reduce") += {1, ring_bytes(tensor, *this), 0.0};
  return std::make_unique<RecordedWork>(std::move(work), log_, held_, name(), "all_reduce");
}

std::unique_ptr<Work> RecordingCommunicator::reduce_async(at::Tensor& tensor, int64_t root) {
  const Stopwatch stopwatch(*log_, name(), "reduce");
  auto work = inner_.reduce_async(tensor, root);
  counter("reduce") += {1, rank() == root ? 0 : bytes_of(tensor), 0.0};
  return std::make_unique<RecordedWork>(std::move(work), log_, held_, name(), "reduce");
}

void RecordingCommunicator::reduce_scatter(at::Tensor& output, const at::Tensor& input) {
  const Stopwatch stopwatch(*log_, name(), "reduce_scatter");
  inner_.reduce_scatter(output, input);
  counter("reduce_scatter") += {1, (size() - 1) * bytes_of(output), 0.0};
}

void RecordingCommunicator::all_gather(at::Tensor& output, const at::Tensor& input) {
  const Stopwatch stopwatch(*log_, name(), "all_gather");
  inner_.all_gather(output, input);
  counter("all_gather") += {1, (size() - 1) * bytes_of(input), 0.0};
}

void RecordingCommunicator::broadcast(at::Tensor& tensor, int64_t root) {
  const Stopwatch stopwatch(*log_, name(), "broadcast");
  inner_.broadcast(tensor, root);
  counter("broadcast") += {1, rank() == root ? (size() - 1) * bytes_of(tensor) : 0, 0.0};
}

void RecordingCommunicator::barrier() {
  const Stopwatch stopwatch(*log_, name(), "barrier");
  inner_.barrier();
  counter("barrier") += {1, 0, 0.0};
}

std::unique_ptr<Work> RecordingCommunicator::send_async(const at::Tensor& tensor, int64_t to) {
  const Stopwatch stopwatch(*log_, name(), "send");
  auto work = inner_.send_async(tensor, to);
  counter("send") += {1, bytes_of(tensor), 0.0};
  return std::make_unique<RecordedWork>(std::move(work), log_, held_, name(), "send");
}

std::unique_ptr<Work> RecordingCommunicator::receive_async(at::Tensor& tensor, int64_t from) {
  const Stopwatch stopwatch(*log_, name(), "receive");
  auto work = inner_.receive_async(tensor, from);
  counter("receive") += {1, 0, 0.0};
  return std::make_unique<RecordedWork>(std::move(work), log_, held_, name(), "receive");
}

std::unique_ptr<Communicator> RecordingCommunicator::split(int64_t color, int64_t key,
                                                           const std::string& name) {
  const Stopwatch stopwatch(*log_, this->name(), "split");
  auto part = inner_.split(color, key, name);
  counter("split") += {1, 0, 0.0};
  return std::make_unique<RecordingCommunicator>(std::move(part), log_);
}

OperationCount total(const TrafficLog& log, const std::string& operation) {
  OperationCount sum;
  for (const auto& [group, counts] : log) {
    const auto found = counts.find(operation);
    if (found != counts.end()) sum += found->second;
  }
  return sum;
}

}  // namespace dsmoe::parallel
