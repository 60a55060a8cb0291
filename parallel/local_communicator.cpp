#include "parallel/local_communicator.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "parallel/communicator_checks.h"

namespace dsmoe::parallel {
namespace {

class DoneWork final : public Work {
 public:
  bool poll() override { return true; }
  void wait() override {}
};

void copy_all(at::Tensor& output, const at::Tensor& input) {
  if (input.numel() > 0) {
    std::memcpy(output.mutable_data_ptr(), input.const_data_ptr(), input.nbytes());
  }
}

class LocalWorld final : public World {
 public:
  [[nodiscard]] Communicator& communicator() override { return communicator_; }
  [[nodiscard]] int64_t ranks_on_host() const override { return 1; }
  [[noreturn]] void abort(int code) override { std::_Exit(code); }

 private:
  LocalCommunicator communicator_;
};

}  // namespace

LocalCommunicator::LocalCommunicator(std::string name) : name_(std::move(name)) {}

std::unique_ptr<Work> LocalCommunicator::all_to_all_async(at::Tensor& output,
                                                          const at::Tensor& input,
                                                          c10::IntArrayRef output_split_sizes,
                                                          c10::IntArrayRef input_split_sizes) {
  check_all_to_all(*this, output, input, output_split_sizes, input_split_sizes);
  TORCH_CHECK(output.size(0) == input.size(0), "all_to_all on group '", name_,
              "' of one rank: output has shape ", output.sizes(), ", input ", input.sizes());
  copy_all(output, input);
  return std::make_unique<DoneWork>();
}

void LocalCommunicator::all_reduce(at::Tensor& tensor, ReduceOp /*op*/) {
  check_all_reduce(*this, tensor);
}

std::unique_ptr<Work> LocalCommunicator::all_reduce_async(at::Tensor& tensor, ReduceOp /*op*/) {
  check_all_reduce(*this, tensor);
  return std::make_unique<DoneWork>();
}

std::unique_ptr<Work> LocalCommunicator::reduce_async(at::Tensor& tensor, int64_t root) {
  check_reduce(*this, tensor, root);
  return std::make_unique<DoneWork>();
}

void LocalCommunicator::reduce_scatter(at::Tensor& output, const at::Tensor& input) {
  check_reduce_scatter(*this, output, input);
  copy_all(output, input);
}

void LocalCommunicator::all_gather(at::Tensor& output, const at::Tensor& input) {
  check_all_gather(*this, output, input);
  copy_all(output, input);
}

void LocalCommunicator::broadcast(at::Tensor& tensor, int64_t root) {
  check_broadcast(*this, tensor, root);
}

std::unique_ptr<Work> LocalCommunicator::send_async(const at::Tensor& tensor, int64_t to) {
  check_message(*this, "send", tensor, to);
  return std::make_unique<DoneWork>();
}

std::unique_ptr<Work> LocalCommunicator::receive_async(at::Tensor& tensor, int64_t from) {
  check_message(*this, "receive", tensor, from);
  return std::make_unique<DoneWork>();
}

std::unique_ptr<Communicator> LocalCommunicator::split(int64_t color, int64_t /*key*/,
                                                       const std::string& name) {
  check_split(*this, color);
  return std::make_unique<LocalCommunicator>(name);
}

std::unique_ptr<World> start_local() { return std::make_unique<LocalWorld>(); }

}  // namespace dsmoe::parallel
