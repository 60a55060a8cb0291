#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// Sums gradients over the ranks that hold the same parameters: dense ones over the ranks of a
/// stage, expert ones over the replicas of their experts. Sums, never averages: the objective is
/// already divided by global counts. Collective over both groups.
void sum_gradients(at::Tensor& dense, at::Tensor& expert, Communicator& data,
                   Communicator& expert_replicas);

/// The same for a group that shares the optimizer's state: `flat`, a block for each rank, then
/// holds the sum in this rank's block only. Collective over group.
void sum_own_block(at::Tensor& flat, Communicator& group);

/// Each rank's block of `flat` goes to all ranks. Collective over group.
void gather_blocks(at::Tensor& flat, Communicator& group);

/// In float64; the same bits for any number of threads. Local.
[[nodiscard]] double sum_of_squares(const at::Tensor& flat);

/// The same to rounding by LibTorch's operation, as where `flat` is on a device. Local.
[[nodiscard]] double sum_of_squares_on_device(const at::Tensor& flat);

/// L2 norm of the gradient of one process that held every parameter once; float64, the same bits on
/// every rank. Call after sum_gradients. Collective over ep and over the stages of the pipeline.
[[nodiscard]] double global_grad_norm(const at::Tensor& dense, const at::Tensor& expert,
                                      Communicator& ep, Communicator& stages);

}  // namespace dsmoe::parallel
