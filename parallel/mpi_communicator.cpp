#include "parallel/mpi_communicator.h"

#include <c10/util/Exception.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"

namespace dsmoe::parallel {
namespace {

constexpr int64_t kMaxCount = std::numeric_limits<int>::max();
// Far below 2^31, since the library's own algorithms multiply counts as well, and small enough
// that a test crosses them. A reduction is fastest where its buffers stay in the cache: pieces of
// 1 MiB take half the time of 16 MiB on one host (`bench network`).
constexpr int64_t kReduceChunk = int64_t{1} << 18;  // elements
constexpr int kMessageTag = 0;
constexpr int64_t kBroadcastChunk = int64_t{1} << 26;  // bytes

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return std::string(text.data(), static_cast<size_t>(length));
}

void check(const Communicator& group, const char* operation, int code) {
  if (code != MPI_SUCCESS) throw CommError(comm_failure(group, operation, error_text(code)));
}

int to_count(const Communicator& group, const char* operation, const char* what, int64_t value) {
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

/// One row as an MPI type, so that counts and displacements are rows.
class RowType final {
 public:
  RowType(const Communicator& group, const char* operation, int64_t bytes) {
    const int count = to_count(group, operation, "the number of bytes in a row", bytes);
    check(group, operation, MPI_Type_contiguous(count, MPI_BYTE, &type_));
    check(group, operation, MPI_Type_commit(&type_));
  }
  ~RowType() {
    if (mpi_is_up()) MPI_Type_free(&type_);
  }
  RowType(const RowType&) = delete;
  RowType& operator=(const RowType&) = delete;
  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

/// Row counts by rank and where each rank's rows start.
struct Blocks {
  std::vector<int> counts;
  std::vector<int> starts;
};

Blocks make_blocks(const Communicator& group, const char* role, c10::IntArrayRef split_sizes) {
  Blocks blocks;
  int64_t start = 0;
  for (const auto rows : split_sizes) {
    blocks.starts.push_back(to_count(group, "all_to_all", role, start));
    start += rows;
    blocks.counts.push_back(to_count(group, "all_to_all", role, rows));
  }
  to_count(group, "all_to_all", role, start);
  return blocks;
}

/// What MPI may touch until the request is complete.
struct Pending {
  explicit Pending(const char* name) : operation(name) {}
  virtual ~Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  /// What is to be looked at afterwards.
  virtual void finish(const Communicator& /*group*/, const MPI_Status& /*status*/) {}

  const char* operation;
  MPI_Request request = MPI_REQUEST_NULL;
};

struct Exchange final : Pending {
  Exchange(const Communicator& group, at::Tensor out, at::Tensor in, c10::IntArrayRef out_splits,
           c10::IntArrayRef in_splits)
      : Pending("all_to_all"),
        output(std::move(out)),
        input(std::move(in)),
        receive(make_blocks(group, "the number of output rows", out_splits)),
        send(make_blocks(group, "the number of input rows", in_splits)),
        row(group, "all_to_all", row_bytes(output)) {}

  at::Tensor output;
  at::Tensor input;
  Blocks receive;
  Blocks send;
  RowType row;
};

/// A tensor on its way to or from one rank.
struct Message final : Pending {
  Message(const Communicator& group, const char* name, at::Tensor what)
      : Pending(name),
        tensor(std::move(what)),
        rows(to_count(group, name, "the number of rows", tensor.size(0))),
        row(group, name, row_bytes(tensor)) {}

  void finish(const Communicator& group, const MPI_Status& status) override {
    if (std::string(operation) != "receive") return;
    int count = 0;
    check(group, operation, MPI_Get_count(&status, row.get(), &count));
    if (count == rows || tensor.numel() == 0) return;
    throw CommError(comm_failure(
        group, operation,
        "the message has " + std::to_string(count) + " rows, the tensor " + std::to_string(rows)));
  }

  at::Tensor tensor;
  int rows;
  RowType row;
};

class MpiWork final : public Work {
 public:
  MpiWork(const Communicator& group, std::unique_ptr<Pending> pending)
      : group_(group), pending_(std::move(pending)) {}

  // A request that is still running while an exception unwinds may never complete: its buffers
  // are left to it, and the process is about to end.
  ~MpiWork() override {
    if (!pending_) return;
    if (std::uncaught_exceptions() > 0) {
      static_cast<void>(pending_.release());
    } else if (mpi_is_up()) {
      MPI_Wait(&pending_->request, MPI_STATUS_IGNORE);
    }
  }
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  bool poll() override {
    if (!pending_) return true;
    int done = 0;
    MPI_Status status;
    check(group_, pending_->operation, MPI_Test(&pending_->request, &done, &status));
    if (done != 0) finish(status);
    return done != 0;
  }

  void wait() override {
    if (!pending_) return;
    MPI_Status status;
    check(group_, pending_->operation, MPI_Wait(&pending_->request, &status));
    finish(status);
  }

 private:
  void finish(const MPI_Status& status) {
    const auto done = std::move(pending_);
    done->finish(group_, status);
  }

  const Communicator& group_;
  std::unique_ptr<Pending> pending_;
};

MPI_Datatype element_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    default:
      return MPI_INT64_T;
  }
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::string name) : comm_(comm), name_(std::move(name)) {
    check(*this, "set_errhandler", MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    check(*this, "comm_rank", MPI_Comm_rank(comm_, &rank_));
    check(*this, "comm_size", MPI_Comm_size(comm_, &size_));
  }

  // Freeing is collective: not while this rank alone unwinds.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() == 0 && mpi_is_up()) MPI_Comm_free(&comm_);
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  [[nodiscard]] int64_t rank() const override { return rank_; }
  [[nodiscard]] int64_t size() const override { return size_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override {
    check_all_to_all(*this, output, input, output_split_sizes, input_split_sizes);
    auto exchange =
        std::make_unique<Exchange>(*this, output, input, output_split_sizes, input_split_sizes);
    const Blocks &send = exchange->send, &receive = exchange->receive;
    const MPI_Datatype row = exchange->row.get();
    check(*this, "all_to_all",
          MPI_Ialltoallv(input.const_data_ptr(), send.counts.data(), send.starts.data(), row,
                         output.mutable_data_ptr(), receive.counts.data(), receive.starts.data(),
                         row, comm_, &exchange->request));
    return std::make_unique<MpiWork>(*this, std::move(exchange));
  }

  void all_reduce(at::Tensor& tensor, ReduceOp op) override {
    check_all_reduce(*this, tensor);
    auto* data = static_cast<char*>(tensor.mutable_data_ptr());
    for (int64_t begin = 0; begin < tensor.numel(); begin += kReduceChunk) {
      const auto count = static_cast<int>(std::min(kReduceChunk, tensor.numel() - begin));
      check(*this, "all_reduce",
            MPI_Allreduce(MPI_IN_PLACE, data + begin * tensor.element_size(), count,
                          element_type(tensor), op == ReduceOp::kSum ? MPI_SUM : MPI_MAX, comm_));
    }
  }

  // In pieces, each packed from all blocks: the library gathers a whole call on one rank.
  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override {
    check_reduce_scatter(*this, output, input);
    const int64_t block = output.numel(), piece = std::max<int64_t>(1, kReduceChunk / size_);
    const at::Tensor blocks = input.view({size_, block}), sum = output.view({-1});
    for (int64_t begin = 0; begin < block; begin += piece) {
      const int64_t count = std::min(piece, block - begin);
      const at::Tensor packed = blocks.narrow(1, begin, count).contiguous();
      check(*this, "reduce_scatter",
            MPI_Reduce_scatter_block(packed.const_data_ptr(),
                                     sum.narrow(0, begin, count).mutable_data_ptr(),
                                     static_cast<int>(count), element_type(input), MPI_SUM, comm_));
    }
  }

  void all_gather(at::Tensor& output, const at::Tensor& input) override {
    check_all_gather(*this, output, input);
    if (input.numel() == 0) return;
    to_count(*this, "all_gather", "the number of output rows", output.size(0));
    const RowType row(*this, "all_gather", row_bytes(input));
    const auto rows = static_cast<int>(input.size(0));
    check(*this, "all_gather",
          MPI_Allgather(input.const_data_ptr(), rows, row.get(), output.mutable_data_ptr(), rows,
                        row.get(), comm_));
  }

  void broadcast(at::Tensor& tensor, int64_t root) override {
    check_broadcast(*this, tensor, root);
    auto* data = static_cast<char*>(tensor.mutable_data_ptr());
    const auto bytes = static_cast<int64_t>(tensor.nbytes());
    for (int64_t begin = 0; begin < bytes; begin += kBroadcastChunk) {
      const auto count = static_cast<int>(std::min(kBroadcastChunk, bytes - begin));
      check(*this, "broadcast",
            MPI_Bcast(data + begin, count, MPI_BYTE, static_cast<int>(root), comm_));
    }
  }

  void barrier() override { check(*this, "barrier", MPI_Barrier(comm_)); }

  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override {
    check_message(*this, "send", tensor, to);
    auto message = std::make_unique<Message>(*this, "send", tensor);
    check(*this, "send",
          MPI_Isend(tensor.const_data_ptr(), message->rows, message->row.get(),
                    static_cast<int>(to), kMessageTag, comm_, &message->request));
    return std::make_unique<MpiWork>(*this, std::move(message));
  }

  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override {
    check_message(*this, "receive", tensor, from);
    auto message = std::make_unique<Message>(*this, "receive", tensor);
    check(*this, "receive",
          MPI_Irecv(tensor.mutable_data_ptr(), message->rows, message->row.get(),
                    static_cast<int>(from), kMessageTag, comm_, &message->request));
    return std::make_unique<MpiWork>(*this, std::move(message));
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override {
    check_split(*this, color);
    MPI_Comm part = MPI_COMM_NULL;
    check(*this, "split",
          MPI_Comm_split(comm_, to_count(*this, "split", "the color", color),
                         to_count(*this, "split", "the key", key), &part));
    return std::make_unique<MpiCommunicator>(part, name);
  }

 private:
  MPI_Comm comm_;
  std::string name_;
  int rank_ = 0;
  int size_ = 1;
};

void check_start(const char* operation, int code) {
  if (code != MPI_SUCCESS) throw CommError(std::string(operation) + ": " + error_text(code));
}

void initialize() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized != 0) throw CommError("MPI_Init_thread: MPI was initialised before");
  int provided = MPI_THREAD_SINGLE;
  check_start("MPI_Init_thread",
              MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided));
  if (provided < MPI_THREAD_SERIALIZED) {
    throw CommError("MPI_Init_thread: the library gives thread level " + std::to_string(provided) +
                    ", MPI_THREAD_SERIALIZED (" + std::to_string(MPI_THREAD_SERIALIZED) +
                    ") is needed");
  }
}

int64_t count_ranks_on_host() {
  MPI_Comm host = MPI_COMM_NULL;
  check_start("MPI_Comm_split_type",
              MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  int size = 1;
  check_start("MPI_Comm_size", MPI_Comm_size(host, &size));
  check_start("MPI_Comm_free", MPI_Comm_free(&host));
  return size;
}

}  // namespace

MpiWorld::MpiWorld() : exceptions_before_(std::uncaught_exceptions()) {
  initialize();
  check_start("MPI_Comm_set_errhandler",
              MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  ranks_on_host_ = count_ranks_on_host();
  MPI_Comm world = MPI_COMM_NULL;
  check_start("MPI_Comm_dup", MPI_Comm_dup(MPI_COMM_WORLD, &world));
  communicator_ = std::make_unique<MpiCommunicator>(world, "world");
}

MpiWorld::~MpiWorld() {
  if (std::uncaught_exceptions() > exceptions_before_) return;
  communicator_.reset();
  MPI_Finalize();
}

void MpiWorld::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::unique_ptr<World> start_mpi() { return std::make_unique<MpiWorld>(); }

}  // namespace dsmoe::parallel
