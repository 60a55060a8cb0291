#include "parallel/communicator_checks.h"

#include <c10/util/Exception.h>

#include <numeric>

namespace dsmoe::parallel {
namespace {

std::string where(const Communicator& group, const char* operation) {
  return std::string(operation) + " on group '" + group.name() + "': ";
}

void check_plain(const Communicator& group, const char* operation, const char* role,
                 const at::Tensor& tensor) {
  TORCH_CHECK(tensor.defined(), where(group, operation), role, " is undefined");
  TORCH_CHECK(group.serves(tensor), where(group, operation), role, " is on ", tensor.device(),
              ", which the group does not serve");
  TORCH_CHECK(tensor.is_contiguous(), where(group, operation), role, " of shape ", tensor.sizes(),
              " and strides ", tensor.strides(), " is not contiguous");
}

void check_rows(const Communicator& group, const char* operation, const at::Tensor& output,
                const at::Tensor& input) {
  check_plain(group, operation, "output", output);
  check_plain(group, operation, "input", input);
  TORCH_CHECK(output.device() == input.device(), where(group, operation), "output is on ",
              output.device(), ", input on ", input.device());
  TORCH_CHECK(output.scalar_type() == input.scalar_type(), where(group, operation), "output is ",
              output.scalar_type(), ", input is ", input.scalar_type());
  TORCH_CHECK(output.dim() >= 1 && input.dim() >= 1, where(group, operation),
              "needs rows; output has shape ", output.sizes(), ", input ", input.sizes());
  TORCH_CHECK(output.sizes().slice(1) == input.sizes().slice(1), where(group, operation),
              "rows differ; output has shape ", output.sizes(), ", input ", input.sizes());
}

void check_summable(const Communicator& group, const char* operation, const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kDouble || type == at::kLong,
              where(group, operation), "tensor of shape ", tensor.sizes(), " is ", type,
              ", not float32, float64 or int64");
}

void check_splits(const Communicator& group, const char* role, const at::Tensor& tensor,
                  c10::IntArrayRef splits) {
  const auto prefix = where(group, "all_to_all");
  TORCH_CHECK(static_cast<int64_t>(splits.size()) == group.size(), prefix, role, "_split_sizes ",
              splits, " has ", splits.size(), " counts, the group ", group.size(), " ranks");
  int64_t rows = 0;
  for (const auto count : splits) {
    TORCH_CHECK(count >= 0, prefix, role, "_split_sizes ", splits, " holds a negative count");
    rows += count;
  }
  TORCH_CHECK(rows == tensor.size(0), prefix, role, "_split_sizes ", splits, " add up to ", rows,
              ", ", role, " has shape ", tensor.sizes());
}

}  // namespace

void check_all_to_all(const Communicator& group, const at::Tensor& output, const at::Tensor& input,
                      c10::IntArrayRef output_split_sizes, c10::IntArrayRef input_split_sizes) {
  check_rows(group, "all_to_all", output, input);
  check_splits(group, "output", output, output_split_sizes);
  check_splits(group, "input", input, input_split_sizes);
  TORCH_CHECK(output.numel() == 0 || output.const_data_ptr() != input.const_data_ptr(),
              where(group, "all_to_all"), "output and input are the same memory");
}

void check_all_reduce(const Communicator& group, const at::Tensor& tensor) {
  check_plain(group, "all_reduce", "tensor", tensor);
  check_summable(group, "all_reduce", tensor);
}

void check_reduce(const Communicator& group, const at::Tensor& tensor, int64_t root) {
  check_plain(group, "reduce", "tensor", tensor);
  check_summable(group, "reduce", tensor);
  TORCH_CHECK(root >= 0 && root < group.size(), where(group, "reduce"), "root ", root, " of ",
              group.size(), " ranks");
}

void check_reduce_scatter(const Communicator& group, const at::Tensor& output,
                          const at::Tensor& input) {
  check_rows(group, "reduce_scatter", output, input);
  check_summable(group, "reduce_scatter", input);
  TORCH_CHECK(input.size(0) == group.size() * output.size(0), where(group, "reduce_scatter"),
              "input has shape ", input.sizes(), ", output ", output.sizes(), ", the group ",
              group.size(), " ranks");
}

void check_all_gather(const Communicator& group, const at::Tensor& output,
                      const at::Tensor& input) {
  check_rows(group, "all_gather", output, input);
  TORCH_CHECK(output.size(0) == group.size() * input.size(0), where(group, "all_gather"),
              "output has shape ", output.sizes(), ", input ", input.sizes(), ", the group ",
              group.size(), " ranks");
}

void check_broadcast(const Communicator& group, const at::Tensor& tensor, int64_t root) {
  check_plain(group, "broadcast", "tensor", tensor);
  TORCH_CHECK(root >= 0 && root < group.size(), where(group, "broadcast"), "root ", root,
              " is not one of ", group.size(), " ranks");
}

void check_message(const Communicator& group, const char* operation, const at::Tensor& tensor,
                   int64_t peer) {
  check_plain(group, operation, "tensor", tensor);
  TORCH_CHECK(tensor.dim() >= 1, where(group, operation), "a tensor without dimensions");
  TORCH_CHECK(peer >= 0 && peer < group.size() && peer != group.rank(), where(group, operation),
              "rank ", peer, " is no other one of ", group.size(), " ranks");
}

void check_split(const Communicator& group, int64_t color) {
  TORCH_CHECK(color >= 0, where(group, "split"), "color ", color, " is negative");
}

int64_t row_bytes(const at::Tensor& tensor) {
  const auto row = tensor.sizes().slice(1);
  return std::accumulate(row.begin(), row.end(), static_cast<int64_t>(tensor.element_size()),
                         [](int64_t bytes, int64_t size) { return bytes * size; });
}

std::string comm_failure(const Communicator& group, const std::string& operation,
                         const std::string& reason) {
  return operation + " failed on group '" + group.name() + "', rank " +
         std::to_string(group.rank()) + " of " + std::to_string(group.size()) + ": " + reason;
}

}  // namespace dsmoe::parallel
