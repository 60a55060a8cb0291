#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "parallel/world.h"

namespace dsmoe::parallel {

/// A group of one rank: exchanges are copies, reductions and broadcasts leave the tensor alone;
/// there is nobody to send to.
class LocalCommunicator final : public Communicator {
 public:
  explicit LocalCommunicator(std::string name = "world");

  [[nodiscard]] int64_t rank() const override { return 0; }
  [[nodiscard]] int64_t size() const override { return 1; }
  [[nodiscard]] const std::string& name() const override { return name_; }
  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override;
  void all_reduce(at::Tensor& tensor, ReduceOp op) override;
  std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, ReduceOp op) override;
  std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) override;
  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override;
  void all_gather(at::Tensor& output, const at::Tensor& input) override;
  void broadcast(at::Tensor& tensor, int64_t root) override;
  void barrier() override {}
  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override;
  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override;

 private:
  std::string name_;
};

/// A job of one process. abort() ends it.
[[nodiscard]] std::unique_ptr<World> start_local();

}  // namespace dsmoe::parallel
