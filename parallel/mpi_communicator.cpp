#include "parallel/mpi_communicator.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "configs/errors.h"
#include "parallel/communicator_checks.h"
#include "parallel/mpi_work.h"

namespace dsmoe::parallel {
namespace {

constexpr int64_t kPiecesUnderWay = 8;
constexpr int kMessageTag = 0;
constexpr int64_t kBroadcastChunk = int64_t{1} << 26;  // bytes

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::string name) : comm_(comm), name_(std::move(name)) {
    check_mpi(*this, "set_errhandler", MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    check_mpi(*this, "comm_rank", MPI_Comm_rank(comm_, &rank_));
    check_mpi(*this, "comm_size", MPI_Comm_size(comm_, &size_));
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

  // Whatever a call of Open MPI asks for, it moves all that is under way; nobody sends to self.
  void progress() override {
    int arrived = 0;
    check_mpi(*this, "progress",
              MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &arrived, MPI_STATUS_IGNORE));
  }

  std::unique_ptr<Work> all_to_all_async(at::Tensor& output, const at::Tensor& input,
                                         c10::IntArrayRef output_split_sizes,
                                         c10::IntArrayRef input_split_sizes) override {
    check_all_to_all(*this, output, input, output_split_sizes, input_split_sizes);
    auto exchange =
        std::make_unique<MpiExchange>(*this, output, input, output_split_sizes, input_split_sizes);
    const MpiBlocks &send = exchange->send, &receive = exchange->receive;
    const MPI_Datatype row = exchange->row.get();
    check_mpi(*this, "all_to_all",
              MPI_Ialltoallv(input.const_data_ptr(), send.counts.data(), send.starts.data(), row,
                             output.mutable_data_ptr(), receive.counts.data(),
                             receive.starts.data(), row, comm_, &exchange->request));
    return std::make_unique<MpiWork>(*this, std::move(exchange));
  }

  // The library has memory of its own for each piece that is under way: not of all at once.
  void all_reduce(at::Tensor& tensor, ReduceOp op) override {
    check_all_reduce(*this, tensor);
    const at::Tensor flat = tensor.view({-1});
    for (int64_t begin = 0; begin < flat.numel(); begin += kMpiPiece * kPiecesUnderWay) {
      at::Tensor part =
          flat.narrow(0, begin, std::min(kMpiPiece * kPiecesUnderWay, flat.numel() - begin));
      all_reduce_async(part, op)->wait();
    }
  }

  std::unique_ptr<Work> all_reduce_async(at::Tensor& tensor, ReduceOp op) override {
    check_all_reduce(*this, tensor);
    auto* data = static_cast<char*>(tensor.mutable_data_ptr());
    const MPI_Op function = op == ReduceOp::kSum ? MPI_SUM : MPI_MAX;
    const auto start = [&](int64_t begin, int count) {
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(*this, "all_reduce",
                MPI_Iallreduce(MPI_IN_PLACE, data + begin * tensor.element_size(), count,
                               mpi_element_type(tensor), function, comm_, &request));
      return request;
    };
    return std::make_unique<MpiReduction>(*this, "all_reduce", tensor, start);
  }

  std::unique_ptr<Work> reduce_async(at::Tensor& tensor, int64_t root) override {
    check_reduce(*this, tensor, root);
    auto* data = static_cast<char*>(tensor.mutable_data_ptr());
    const auto start = [&](int64_t begin, int count) {
      char* const piece = data + begin * tensor.element_size();
      return rank_ == root
                 ? start_sum("reduce", MPI_IN_PLACE, piece, count, mpi_element_type(tensor), root)
                 : start_sum("reduce", piece, nullptr, count, mpi_element_type(tensor), root);
    };
    return std::make_unique<MpiReduction>(*this, "reduce", tensor, start);
  }

  // A sum for each rank, in pieces: the library gathers a whole reduce_scatter on one rank.
  void reduce_scatter(at::Tensor& output, const at::Tensor& input) override {
    check_reduce_scatter(*this, output, input);
    const int64_t block = output.numel(), width = output.element_size();
    const auto* const from = static_cast<const char*>(input.const_data_ptr());
    auto* const into = static_cast<char*>(output.mutable_data_ptr());
    std::vector<MPI_Request> under_way;
    for (int64_t begin = 0; begin < block; begin += kMpiPiece) {
      const auto count = static_cast<int>(std::min(kMpiPiece, block - begin));
      for (int64_t root = 0; root < size_; ++root) {
        under_way.push_back(start_sum("reduce_scatter", from + (root * block + begin) * width,
                                      root == rank_ ? into + begin * width : nullptr, count,
                                      mpi_element_type(input), root));
        if (std::ssize(under_way) >= kPiecesUnderWay) wait_all("reduce_scatter", under_way);
      }
    }
    wait_all("reduce_scatter", under_way);
  }

  void all_gather(at::Tensor& output, const at::Tensor& input) override {
    check_all_gather(*this, output, input);
    if (input.numel() == 0) return;
    to_mpi_count(*this, "all_gather", "the number of output rows", output.size(0));
    const MpiRowType row(*this, "all_gather", row_bytes(input));
    const auto rows = static_cast<int>(input.size(0));
    check_mpi(*this, "all_gather",
              MPI_Allgather(input.const_data_ptr(), rows, row.get(), output.mutable_data_ptr(),
                            rows, row.get(), comm_));
  }

  void broadcast(at::Tensor& tensor, int64_t root) override {
    check_broadcast(*this, tensor, root);
    auto* data = static_cast<char*>(tensor.mutable_data_ptr());
    const auto bytes = static_cast<int64_t>(tensor.nbytes());
    for (int64_t begin = 0; begin < bytes; begin += kBroadcastChunk) {
      const auto count = static_cast<int>(std::min(kBroadcastChunk, bytes - begin));
      check_mpi(*this, "broadcast",
                MPI_Bcast(data + begin, count, MPI_BYTE, static_cast<int>(root), comm_));
    }
  }

  void barrier() override { check_mpi(*this, "barrier", MPI_Barrier(comm_)); }

  std::unique_ptr<Work> send_async(const at::Tensor& tensor, int64_t to) override {
    check_message(*this, "send", tensor, to);
    auto message = std::make_unique<MpiMessage>(*this, "send", tensor);
    check_mpi(*this, "send",
              MPI_Isend(tensor.const_data_ptr(), message->rows, message->row.get(),
                        static_cast<int>(to), kMessageTag, comm_, &message->request));
    return std::make_unique<MpiWork>(*this, std::move(message));
  }

  std::unique_ptr<Work> receive_async(at::Tensor& tensor, int64_t from) override {
    check_message(*this, "receive", tensor, from);
    auto message = std::make_unique<MpiMessage>(*this, "receive", tensor);
    check_mpi(*this, "receive",
              MPI_Irecv(tensor.mutable_data_ptr(), message->rows, message->row.get(),
                        static_cast<int>(from), kMessageTag, comm_, &message->request));
    return std::make_unique<MpiWork>(*this, std::move(message));
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int64_t color, int64_t key,
                                                    const std::string& name) override {
    check_split(*this, color);
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(*this, "split",
              MPI_Comm_split(comm_, to_mpi_count(*this, "split", "the color", color),
                             to_mpi_count(*this, "split", "the key", key), &part));
    return std::make_unique<MpiCommunicator>(part, name);
  }

 private:
  /// The sum of what all ranks send, on root.
  MPI_Request start_sum(const char* operation, const void* send, void* receive, int count,
                        MPI_Datatype type, int64_t root) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        *this, operation,
        MPI_Ireduce(send, receive, count, type, MPI_SUM, static_cast<int>(root), comm_, &request));
    return request;
  }

  void wait_all(const char* operation, std::vector<MPI_Request>& requests) {
    check_mpi(*this, operation,
              MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE));
    requests.clear();
  }

  MPI_Comm comm_;
  std::string name_;
  int rank_ = 0;
  int size_ = 1;
};

void check_start(const char* operation, int code) {
  if (code != MPI_SUCCESS) throw CommError(std::string(operation) + ": " + mpi_error_text(code));
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
