#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// What every communicator asks of its arguments. All throw c10::Error naming the
/// operation, the group and the shapes; they look at this rank's arguments only.

/// Equal dtype and row shape, contiguous, splits of group.size() counts that add up to the rows.
void check_all_to_all(const Communicator& group, const at::Tensor& output, const at::Tensor& input,
                      c10::IntArrayRef output_split_sizes, c10::IntArrayRef input_split_sizes);
/// Contiguous float32, float64 or int64.
void check_all_reduce(const Communicator& group, const at::Tensor& tensor);
void check_reduce(const Communicator& group, const at::Tensor& tensor, int64_t root);
/// input: output's shape with group.size() times its rows; float32, float64 or int64.
void check_reduce_scatter(const Communicator& group, const at::Tensor& output,
                          const at::Tensor& input);
/// output: input's shape with group.size() times its rows.
void check_all_gather(const Communicator& group, const at::Tensor& output, const at::Tensor& input);
void check_broadcast(const Communicator& group, const at::Tensor& tensor, int64_t root);
/// Contiguous, of at least one dimension; another member of the group.
void check_message(const Communicator& group, const char* operation, const at::Tensor& tensor,
                   int64_t peer);
void check_split(const Communicator& group, int64_t color);

/// Bytes of one row, that is of everything behind dim 0.
[[nodiscard]] int64_t row_bytes(const at::Tensor& tensor);

/// The text of a CommError: operation, group, rank, size, reason.
[[nodiscard]] std::string comm_failure(const Communicator& group, const std::string& operation,
                                       const std::string& reason);

}  // namespace dsmoe::parallel
