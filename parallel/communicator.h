#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <memory>
#include <string>

namespace dsmoe::parallel {

enum class ReduceOp { kSum, kMax };

/// An operation under way. The tensors it uses stay alive in it.
class Work {
 public:
  virtual ~Work() = default;
  /// Lets the library progress; cheap, never blocks. True when the exchange is complete.
  virtual bool poll() = 0;
  /// Blocks until complete; afterwards the outputs may be read.
  virtual void wait() = 0;
};

/// One member of a group of ranks. All calls but send and receive are collective over the group:
/// every rank makes the same calls in the same order, also with zero rows. Tensors are contiguous
/// and where the group serves them. Throws CommError with operation, group, rank and size;
/// c10::Error on wrong shapes.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int64_t rank() const = 0;
  [[nodiscard]] virtual int64_t size() const = 0;
  /// The group's name in messages and counters: "world", "ep", "expert_replicas".
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Whether the group moves tensors that lie where this one does.
  [[nodiscard]] virtual bool serves(const at::Tensor& tensor) const { return tensor.is_cpu(); }

  /// Rows (dim 0) input_split_sizes[r] of `input`, in rank order, go to rank r;
  /// output_split_sizes[r] rows of `output` come from rank r. Any dtype; counts are rows, so only
  /// the number of rows is limited to 2^31 - 1.
  virtual std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                                 c10::IntArrayRef output_split_sizes,
                                                 c10::IntArrayRef input_split_sizes) = 0;
  void all_to_all(at::Tensor& output, const at::Tensor& input, c10::IntArrayRef output_split_sizes,
                  c10::IntArrayRef input_split_sizes) {
    all_to_all_async(output, input, output_split_sizes, input_split_sizes)->wait();
  }
  /// In place; the same bits on every rank. float32, float64, int64.
  virtual void all_reduce(at::Tensor& tensor, ReduceOp op) = 0;
  /// The same, under way: `tensor` must be left alone until the work is complete.
  virtual std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, ReduceOp op) = 0;
  /// The sum over the ranks, on root alone; what `tensor` then holds elsewhere is undefined.
  /// float32, float64, int64.
  virtual std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) = 0;
  /// input is [size * rows, ...], a block for each rank in rank order; output becomes the sum over
  /// the ranks of this rank's block. Not aliased. float32, float64, int64.
  virtual void reduce_scatter(at::Tensor& output, const at::Tensor& input) = 0;
  /// output is [size * rows, ...], blocks in rank order; equal shapes on all ranks.
  virtual void all_gather(at::Tensor& output, const at::Tensor& input) = 0;
  virtual void broadcast(at::Tensor& tensor, int64_t root) = 0;
  virtual void barrier() = 0;
  /// Makes ready for messages to the ranks `to` and from the ranks `from`, which name this one in
  /// turn: between connected ranks a message goes on its way by itself, while without this the
  /// first ones may need calls of both sides. A second time for the same ranks it does nothing.
  virtual void connect(c10::IntArrayRef to, c10::IntArrayRef from) {
    static_cast<void>(to);
    static_cast<void>(from);
  }
  /// From this rank to one other, which receives the messages of a rank in the order they were sent
  /// in: not collective. Never blocks; the tensor is read until the work is complete. Any dtype.
  virtual std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) = 0;
  /// The message must have the tensor's dtype and shape: one of another size throws CommError.
  virtual std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) = 0;
  /// Lets the library move what is under way on any group of this rank; cheap, never blocks. Local.
  virtual void progress() {}
  /// The ranks with the same color form a new group, ordered by key.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                            const std::string& name) = 0;
};

}  // namespace dsmoe::parallel
