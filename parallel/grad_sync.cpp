#include "parallel/grad_sync.h"

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <cmath>

namespace dsmoe::parallel {
namespace {

constexpr int64_t kBlock = 1 << 16;

template <class T>
double block_sum(const T* values, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    lanes[0] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

at::Tensor own_block(const at::Tensor& flat, const Communicator& group) {
  const int64_t size = flat.numel() / group.size();
  return flat.narrow(0, group.rank() * size, size);
}

}  // namespace

double sum_of_squares_on_device(const at::Tensor& flat) {
  if (flat.numel() == 0) return 0;
  const auto norm = at::linalg_vector_norm(flat, 2, /*dim=*/at::OptionalIntArrayRef{},
                                           /*keepdim=*/false, at::kDouble)
                        .item<double>();
  return norm * norm;
}

/// Blocks of fixed size, added in order: the same bits for any number of threads.
double sum_of_squares(const at::Tensor& flat) {
  if (!flat.is_cpu()) return sum_of_squares_on_device(flat);
  const int64_t blocks = (flat.numel() + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<size_t>(blocks));
  AT_DISPATCH_FLOATING_TYPES(flat.scalar_type(), "sum_of_squares", [&] {
    const auto* values = flat.const_data_ptr<scalar_t>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t count = std::min(kBlock, flat.numel() - b * kBlock);
        sums[static_cast<size_t>(b)] = block_sum(values + b * kBlock, count);
      }
    });
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void sum_gradients(at::Tensor& dense, at::Tensor& expert, Communicator& data,
                   Communicator& expert_replicas) {
  if (data.size() > 1) data.all_reduce(dense, ReduceOp::kSum);
  if (expert_replicas.size() > 1) expert_replicas.all_reduce(expert, ReduceOp::kSum);
}

void sum_own_block(at::Tensor& flat, Communicator& group) {
  if (group.size() == 1) return;
  const at::Tensor block = own_block(flat, group);
  at::Tensor sum = at::empty_like(block);
  group.reduce_scatter(sum, flat);
  block.copy_(sum);
}

void gather_blocks(at::Tensor& flat, Communicator& group) {
  if (group.size() > 1) group.all_gather(flat, own_block(flat, group).clone());
}

double global_grad_norm(const at::Tensor& dense, const at::Tensor& expert, Communicator& ep,
                        Communicator& stages) {
  at::Tensor squares = at::full({1}, sum_of_squares(expert), at::kDouble);
  if (ep.size() > 1) ep.all_reduce(squares, ReduceOp::kSum);
  squares += sum_of_squares(dense);
  if (stages.size() > 1) stages.all_reduce(squares, ReduceOp::kSum);
  return std::sqrt(squares.item<double>());
}

}  // namespace dsmoe::parallel
