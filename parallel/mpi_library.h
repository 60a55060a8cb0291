#pragma once

// The one place that includes mpi.h: everything of MPI goes through here.
#include <c10/util/ArrayRef.h>
#include <mpi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// The library's text for its error code.
[[nodiscard]] std::string mpi_error_text(int code);

/// Throws CommError with the group, the operation and the library's text unless `code` is success.
void check_mpi(const Communicator& group, const char* operation, int code);

/// `value` as MPI counts. Throws CommError naming `what` above 2^31 - 1.
int to_mpi_count(const Communicator& group, const char* operation, const char* what, int64_t value);

/// Whether MPI may be called: initialised, and not finalised.
[[nodiscard]] bool mpi_is_up();

/// The type of an element that can be summed: float32, float64, int64.
[[nodiscard]] MPI_Datatype mpi_element_type(const at::Tensor& tensor);

/// One row as an MPI type, so that counts and displacements are rows.
class MpiRowType final {
 public:
  MpiRowType(const Communicator& group, const char* operation, int64_t bytes);
  ~MpiRowType();
  MpiRowType(const MpiRowType&) = delete;
  MpiRowType& operator=(const MpiRowType&) = delete;
  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

/// Row counts by rank and where each rank's rows start.
struct MpiBlocks {
  std::vector<int> counts;
  std::vector<int> starts;
};
/// role: "the number of output rows", for messages.
[[nodiscard]] MpiBlocks make_mpi_blocks(const Communicator& group, const char* role,
                                        c10::IntArrayRef split_sizes);

}  // namespace dsmoe::parallel
