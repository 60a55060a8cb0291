#include "parallel/mpi_library.h"

#include <array>
#include <limits>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"

namespace dsmoe::parallel {
namespace {

constexpr int64_t kMaxCount = std::numeric_limits<int>::max();

}  // namespace

std::string mpi_error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return std::string(text.data(), static_cast<size_t>(length));
}

void check_mpi(const Communicator& group, const char* operation, int code) {
  if (code != MPI_SUCCESS) throw CommError(comm_failure(group, operation, mpi_error_text(code)));
}

int to_mpi_count(const Communicator& group, const char* operation, const char* what,
                 int64_t value) {
  if (value <= kMaxCount) return static_cast<int>(value);
  throw CommError(comm_failure(group, operation,
                               std::string(what) + " is " + std::to_string(value) +
                                   ", MPI counts at most " + std::to_string(kMaxCount)));
}

bool mpi_is_up() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

MpiRowType::MpiRowType(const Communicator& group, const char* operation, int64_t bytes) {
  const int count = to_mpi_count(group, operation, "the number of bytes in a row", bytes);
  check_mpi(group, operation, MPI_Type_contiguous(count, MPI_BYTE, &type_));
  check_mpi(group, operation, MPI_Type_commit(&type_));
}

MpiRowType::~MpiRowType() {
  if (mpi_is_up()) MPI_Type_free(&type_);
}

MpiBlocks make_mpi_blocks(const Communicator& group, const char* role,
                          c10::IntArrayRef split_sizes) {
  MpiBlocks blocks;
  int64_t start = 0;
  for (const auto rows : split_sizes) {
    blocks.starts.push_back(to_mpi_count(group, "all_to_all", role, start));
    start += rows;
    blocks.counts.push_back(to_mpi_count(group, "all_to_all", role, rows));
  }
  to_mpi_count(group, "all_to_all", role, start);
  return blocks;
}

MPI_Datatype mpi_element_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    default:
      return MPI_INT64_T;
  }
}

}  // namespace dsmoe::parallel
