#include "tests/nccl/nccl_world.h"

#include <memory>
#include <utility>
#include <vector>

#include "parallel/choose_device.h"
#include "parallel/nccl_communicator.h"
#include "tests/support/thread_world.h"

namespace dsmoe::test {
namespace {

using parallel::Communicator;
using parallel::DeviceStream;
using parallel::Work;

/// A device's memory that is given back serves later work of its stream. The host's, which stands
/// for it here, serves anybody: it is kept until the stream is done.
class ReadWork final : public Work {
 public:
  ReadWork(std::unique_ptr<Work> inner, DeviceStream compute, std::vector<at::Tensor> kept)
      : inner_(std::move(inner)), compute_(compute), kept_(std::move(kept)) {}
  bool poll() override { return inner_->poll(); }
  void wait() override {
    inner_->wait();
    parallel::finish_stream(compute_);
  }

 private:
  std::unique_ptr<Work> inner_;
  DeviceStream compute_;
  std::vector<at::Tensor> kept_;
};

class ReadingCommunicator final : public Communicator {
 public:
  ReadingCommunicator(Communicator& inner, DeviceStream compute)
      : inner_(inner), compute_(compute) {}
  ReadingCommunicator(std::unique_ptr<Communicator> inner, DeviceStream compute)
      : owned_(std::move(inner)), inner_(*owned_), compute_(compute) {}

  [[nodiscard]] int64_t rank() const override { return inner_.rank(); }
  [[nodiscard]] int64_t size() const override { return inner_.size(); }
  [[nodiscard]] const std::string& name() const override { return inner_.name(); }
  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override {
    return read(inner_.all_to_all_async(output, input, output_split_sizes, input_split_sizes),
                {output, input});
  }
  void all_reduce(at::Tensor& tensor, parallel::ReduceOp op) override {
    inner_.all_reduce(tensor, op);
    read();
  }
  std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, parallel::ReduceOp op) override {
    return read(inner_.all_reduce_async(tensor, op), {tensor});
  }
  std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) override {
    return read(inner_.reduce_async(tensor, root), {tensor});
  }
  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override {
    inner_.reduce_scatter(output, input);
    read();
  }
  void all_gather(at::Tensor& output, const at::Tensor& input) override {
    inner_.all_gather(output, input);
    read();
  }
  void broadcast(at::Tensor& tensor, int64_t root) override {
    inner_.broadcast(tensor, root);
    read();
  }
  void barrier() override { inner_.barrier(); }
  void connect(c10::IntArrayRef to, c10::IntArrayRef from) override { inner_.connect(to, from); }
  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override {
    return read(inner_.send_async(tensor, to), {tensor});
  }
  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override {
    return read(inner_.receive_async(tensor, from), {tensor});
  }
  void progress() override { inner_.progress(); }
  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override {
    return std::make_unique<ReadingCommunicator>(inner_.split(color, key, name), compute_);
  }

 private:
  void read() const { parallel::finish_stream(compute_); }
  [[nodiscard]] std::unique_ptr<Work> read(std::unique_ptr<Work> work,
                                           std::vector<at::Tensor> kept) const {
    return std::make_unique<ReadWork>(std::move(work), compute_, std::move(kept));
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  DeviceStream compute_;
};

}  // namespace

void run_nccl_ranks(int64_t num_ranks, double timeout_seconds,
                    const std::function<void(NcclRank&)>& fn) {
  run_ranks(num_ranks, [&](Communicator& host) {
    parallel::choose_device(host);
    const parallel::CommStream compute;
    const parallel::DeviceHooks hooks{[&] { return compute.get(); },
                                      [](const at::Tensor&) { return true; }};
    const auto device = parallel::make_nccl_communicator(host, hooks, timeout_seconds);
    ReadingCommunicator world(*device, compute.get());
    NcclRank rank{host, *device, world, compute.get()};
    fn(rank);
  });
}

}  // namespace dsmoe::test
