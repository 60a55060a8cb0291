#include "parallel/mpi_work.h"

#include <exception>
#include <string>
#include <utility>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"

namespace dsmoe::parallel {

MpiExchange::MpiExchange(const Communicator& group, at::Tensor out, at::Tensor in,
                         c10::IntArrayRef output_split_sizes, c10::IntArrayRef input_split_sizes)
    : MpiPending("all_to_all"),
      output(std::move(out)),
      input(std::move(in)),
      receive(make_mpi_blocks(group, "the number of output rows", output_split_sizes)),
      send(make_mpi_blocks(group, "the number of input rows", input_split_sizes)),
      row(group, "all_to_all", row_bytes(output)) {}

MpiMessage::MpiMessage(const Communicator& group, const char* name, at::Tensor what)
    : MpiPending(name),
      tensor(std::move(what)),
      rows(to_mpi_count(group, name, "the number of rows", tensor.size(0))),
      row(group, name, row_bytes(tensor)) {}

void MpiMessage::finish(const Communicator& group, const MPI_Status& status) {
  if (std::string(operation) != "receive") return;
  int count = 0;
  check_mpi(group, operation, MPI_Get_count(&status, row.get(), &count));
  if (count == rows || tensor.numel() == 0) return;
  throw CommError(comm_failure(
      group, operation,
      "the message has " + std::to_string(count) + " rows, the tensor " + std::to_string(rows)));
}

MpiWork::MpiWork(const Communicator& group, std::unique_ptr<MpiPending> pending)
    : group_(group), pending_(std::move(pending)) {}

// A request that is still running while an exception unwinds may never complete: its buffers
// are left to it, and the process is about to end.
MpiWork::~MpiWork() {
  if (!pending_) return;
  if (std::uncaught_exceptions() > 0) {
    static_cast<void>(pending_.release());
  } else if (mpi_is_up()) {
    MPI_Wait(&pending_->request, MPI_STATUS_IGNORE);
  }
}

bool MpiWork::poll() {
  if (!pending_) return true;
  int done = 0;
  MPI_Status status;
  check_mpi(group_, pending_->operation, MPI_Test(&pending_->request, &done, &status));
  if (done != 0) finish(status);
  return done != 0;
}

void MpiWork::wait() {
  if (!pending_) return;
  MPI_Status status;
  check_mpi(group_, pending_->operation, MPI_Wait(&pending_->request, &status));
  finish(status);
}

void MpiWork::finish(const MPI_Status& status) {
  const auto done = std::move(pending_);
  done->finish(group_, status);
}

// As MpiWork's: the buffer is left to the library.
MpiReduction::~MpiReduction() {
  if (std::uncaught_exceptions() > 0) {
    static_cast<void>(new at::Tensor(tensor_));
  } else if (mpi_is_up()) {
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  }
}

bool MpiReduction::poll() {
  int done = 0;
  check_mpi(group_, operation_,
            MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done,
                        MPI_STATUSES_IGNORE));
  return done != 0;
}

void MpiReduction::wait() {
  check_mpi(group_, operation_,
            MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE));
}

}  // namespace dsmoe::parallel
