#pragma once

#include <cstdint>
#include <memory>

#include "parallel/world.h"

namespace dsmoe::parallel {

/// MPI for as long as the object lives, at most once per process.
/// Initialised with at least MPI_THREAD_SERIALIZED; calls of one process must not overlap.
/// Finalised by a normal destruction only: while an exception unwinds MPI is left as it is, since
/// a rank that finalises alone hangs the others. The process must then call abort(), or end with
/// a code that is not 0.
/// Groups are MPI communicators that return their errors: each throws CommError. Numbers of rows,
/// per rank and in sum, are limited to 2^31 - 1 and checked; bytes are not limited.
/// all_reduce gives the same bits on every rank and on every repeat, but not the rank-order sum.
/// Throws CommError when MPI is already up or the library gives less thread support.
class MpiWorld final : public World {
 public:
  MpiWorld();
  ~MpiWorld() override;
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  [[nodiscard]] Communicator& communicator() override { return *communicator_; }
  [[nodiscard]] int64_t ranks_on_host() const override { return ranks_on_host_; }
  [[noreturn]] void abort(int code) override;

 private:
  std::unique_ptr<Communicator> communicator_;
  int64_t ranks_on_host_ = 1;
  int exceptions_before_ = 0;
};

[[nodiscard]] std::unique_ptr<World> start_mpi();

}  // namespace dsmoe::parallel
