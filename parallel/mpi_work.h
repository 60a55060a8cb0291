#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "parallel/mpi_library.h"

namespace dsmoe::parallel {

/// What MPI may touch until the request is complete.
struct MpiPending {
  explicit MpiPending(const char* name) : operation(name) {}
  virtual ~MpiPending() = default;
  MpiPending(const MpiPending&) = delete;
  MpiPending& operator=(const MpiPending&) = delete;
  /// What is to be looked at afterwards.
  virtual void finish(const Communicator& /*group*/, const MPI_Status& /*status*/) {}

  const char* operation;
  MPI_Request request = MPI_REQUEST_NULL;
};

/// Rows to all ranks and from all.
struct MpiExchange final : MpiPending {
  MpiExchange(const Communicator& group, at::Tensor out, at::Tensor in,
              c10::IntArrayRef output_split_sizes, c10::IntArrayRef input_split_sizes);

  at::Tensor output;
  at::Tensor input;
  MpiBlocks receive;
  MpiBlocks send;
  MpiRowType row;
};

/// A tensor on its way to or from one rank.
struct MpiMessage final : MpiPending {
  MpiMessage(const Communicator& group, const char* name, at::Tensor what);
  void finish(const Communicator& group, const MPI_Status& status) override;

  at::Tensor tensor;
  int rows;
  MpiRowType row;
};

/// One request.
class MpiWork final : public Work {
 public:
  MpiWork(const Communicator& group, std::unique_ptr<MpiPending> pending);
  ~MpiWork() override;
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  bool poll() override;
  void wait() override;

 private:
  void finish(const MPI_Status& status);

  const Communicator& group_;
  std::unique_ptr<MpiPending> pending_;
};

/// Elements of a piece of a reduction. Far below 2^31, since the library's own algorithms multiply
/// counts as well, and small enough that a test crosses it. Pieces of 1 MiB, whose buffers stay in
/// the cache, take half the time of 16 MiB on one host (`bench network`).
inline constexpr int64_t kMpiPiece = int64_t{1} << 18;

/// A reduction in pieces, all of them under way: ranks then wait for each other once, not for each
/// piece.
class MpiReduction final : public Work {
 public:
  /// start(begin, count): lets the library begin with a piece and gives its request.
  template <class Start>
  MpiReduction(const Communicator& group, const char* operation, at::Tensor tensor,
               const Start& start)
      : group_(group), operation_(operation), tensor_(std::move(tensor)) {
    for (int64_t begin = 0; begin < tensor_.numel(); begin += kMpiPiece) {
      const int64_t count = std::min(kMpiPiece, tensor_.numel() - begin);
      requests_.push_back(start(begin, static_cast<int>(count)));
    }
  }
  ~MpiReduction() override;
  MpiReduction(const MpiReduction&) = delete;
  MpiReduction& operator=(const MpiReduction&) = delete;

  bool poll() override;
  void wait() override;

 private:
  const Communicator& group_;
  const char* operation_;
  at::Tensor tensor_;
  std::vector<MPI_Request> requests_;
};

}  // namespace dsmoe::parallel
