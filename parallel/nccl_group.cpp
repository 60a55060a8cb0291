#include "parallel/nccl_group.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

void check_cuda(const char* call, cudaError_t code) {
  if (code != cudaSuccess) throw CommError(std::string(call) + ": " + cudaGetErrorString(code));
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ncclDataType_t library_type(NcclType type) {
  switch (type) {
    case NcclType::kFloat:
      return ncclFloat32;
    case NcclType::kDouble:
      return ncclFloat64;
    case NcclType::kInt64:
      return ncclInt64;
    default:
      return ncclUint8;
  }
}

int64_t bytes_of(NcclType type) {
  if (type == NcclType::kByte) return 1;
  return type == NcclType::kFloat ? 4 : 8;
}

/// What the library says about a result, with its last words where it has any.
std::string library_text(ncclResult_t result, ncclComm* comm) {
  std::string text = ncclGetErrorString(result);
  const char* last = ncclGetLastError(comm);
  if (last != nullptr && *last != '\0') text += std::string(" (") + last + ")";
  return text;
}

ncclResult_t send_or_receive(const NcclPiece& piece, ncclComm* comm, DeviceStream stream) {
  const auto bytes = static_cast<size_t>(piece.bytes);
  const auto peer = static_cast<int>(piece.peer);
  return piece.sends ? ncclSend(piece.data, bytes, ncclUint8, peer, comm, stream)
                     : ncclRecv(piece.data, bytes, ncclUint8, peer, comm, stream);
}

/// One group: a rank that sends first to a rank that sends first would wait for ever.
ncclResult_t exchange_pieces(const std::vector<NcclPiece>& pieces, ncclComm* comm,
                             DeviceStream stream) {
  ncclResult_t first = ncclGroupStart();
  for (const NcclPiece& piece : pieces) {
    if (first != ncclSuccess) break;
    if (piece.bytes > 0) first = send_or_receive(piece, comm, stream);
  }
  const ncclResult_t end = ncclGroupEnd();
  return first == ncclSuccess ? end : first;
}

}  // namespace

NcclId make_nccl_id() {
  ncclUniqueId made;
  const ncclResult_t result = ncclGetUniqueId(&made);
  if (result != ncclSuccess) {
    throw CommError("ncclGetUniqueId: " + library_text(result, nullptr));
  }
  NcclId id{};
  static_assert(sizeof(made) == sizeof(id));
  std::memcpy(id.data(), &made, sizeof(made));
  return id;
}

// A machine without a driver is an error to the library; to us it has no device.
int64_t count_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

int64_t current_device() {
  int device = 0;
  check_cuda("cudaGetDevice", cudaGetDevice(&device));
  return device;
}

void use_device(int64_t device) {
  check_cuda("cudaSetDevice", cudaSetDevice(static_cast<int>(device)));
}

std::string device_address() {
  std::array<char, 32> address{};
  check_cuda("cudaDeviceGetPCIBusId",
             cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()),
                                   static_cast<int>(current_device())));
  return address.data();
}

void finish_stream(DeviceStream stream) {
  check_cuda("cudaStreamSynchronize", cudaStreamSynchronize(stream));
}

StreamMark::StreamMark(DeviceStream stream) {
  check_cuda("cudaEventCreateWithFlags", cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  check_cuda("cudaEventRecord", cudaEventRecord(event_, stream));
}

StreamMark::~StreamMark() { cudaEventDestroy(event_); }

bool StreamMark::passed() const {
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) return false;
  check_cuda("cudaEventQuery", code);
  return true;
}

void StreamMark::hold(DeviceStream stream) const {
  check_cuda("cudaStreamWaitEvent", cudaStreamWaitEvent(stream, event_, 0));
}

CommStream::CommStream() {
  check_cuda("cudaStreamCreateWithFlags",
             cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

CommStream::~CommStream() { cudaStreamDestroy(stream_); }

struct NcclGroup::Flight {
  NcclCall call;
  Mark mark;
  double deadline;
};

NcclGroup::NcclGroup(NcclMember member, const NcclId& id, std::shared_ptr<CommStream> stream,
                     double timeout_seconds, int block_limit)
    : member_(std::move(member)),
      stream_(std::move(stream)),
      timeout_seconds_(timeout_seconds),
      created_at_(now()) {
  ncclUniqueId library_id;
  std::memcpy(&library_id, id.data(), sizeof(library_id));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  if (block_limit > 0) config.maxCTAs = block_limit;
  const ncclResult_t result = ncclCommInitRankConfig(
      &comm_, static_cast<int>(member_.size), library_id, static_cast<int>(member_.rank), &config);
  if (result != ncclSuccess && result != ncclInProgress) {
    throw CommError(describe({"connect"}, library_text(result, nullptr)));
  }
}

NcclGroup::~NcclGroup() {
  if (comm_ == nullptr) return;
  if (std::uncaught_exceptions() > 0 || !joined_) {
    ncclCommAbort(comm_);
    return;
  }
  ncclResult_t state = ncclCommFinalize(comm_);
  const double deadline = now() + timeout_seconds_;
  while (state == ncclInProgress && now() < deadline) {
    std::this_thread::yield();
    if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
  }
  if (state == ncclSuccess) {
    ncclCommDestroy(comm_);
  } else {
    ncclCommAbort(comm_);
  }
}

std::string NcclGroup::describe(const NcclCall& call, const std::string& reason) const {
  return std::string(call.operation) + " of " + std::to_string(call.bytes) +
         " bytes failed on group '" + member_.group + "', rank " + std::to_string(member_.rank) +
         " of " + std::to_string(member_.size) + ", by NCCL: " + reason;
}

void NcclGroup::fail(const NcclCall& call, const std::string& reason) {
  if (comm_ == nullptr) return;
  failure_ = describe(call, reason);
  ncclCommAbort(std::exchange(comm_, nullptr));
  flights_.clear();
}

/// The library may take its time over a call; what follows must not begin before.
void NcclGroup::settle(const NcclCall& call, int code) {
  auto result = static_cast<ncclResult_t>(code);
  const double deadline = now() + timeout_seconds_;
  while (result == ncclInProgress && now() < deadline) {
    std::this_thread::yield();
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return;
  const bool late = result == ncclInProgress;
  fail(call, late ? "not accepted within " + std::to_string(timeout_seconds_) + " seconds"
                  : library_text(result, comm_));
  throw CommError(failure_);
}

bool NcclGroup::joined() {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw CommError(failure_);
  if (joined_) return true;
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
  if (asked != ncclSuccess) state = asked;
  joined_ = state == ncclSuccess;
  if (state != ncclSuccess && state != ncclInProgress)
    fail({"connect"}, library_text(state, comm_));
  if (state == ncclInProgress && now() > created_at_ + timeout_seconds_) {
    fail({"connect"}, "not all ranks came within " + std::to_string(timeout_seconds_) + " seconds");
  }
  if (!failure_.empty()) throw CommError(failure_);
  return joined_;
}

void NcclGroup::wait_until_joined() {
  while (!joined()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

void NcclGroup::look() {
  while (!flights_.empty() && flights_.front().mark->passed()) flights_.pop_front();
  if (comm_ == nullptr || flights_.empty()) return;
  const NcclCall call = flights_.front().call;
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
  if (asked != ncclSuccess) state = asked;
  if (state != ncclSuccess && state != ncclInProgress) {
    fail(call, library_text(state, comm_));
  } else if (now() > flights_.front().deadline) {
    fail(call, "not complete within " + std::to_string(timeout_seconds_) + " seconds");
  }
}

void NcclGroup::watch() {
  const std::lock_guard lock(mutex_);
  try {
    look();
  } catch (const CommError& error) {
    fail(flights_.front().call, error.what());
  }
}

void NcclGroup::check(const NcclCall& call) {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw CommError(failure_ + "; found by " + call.operation);
}

void NcclGroup::watch_and_check(const NcclCall& call) {
  watch();
  check(call);
}

template <typename Call>
NcclGroup::Mark NcclGroup::launch(const NcclCall& call, const StreamMark& ready,
                                  const Call& enqueue) {
  watch_and_check(call);
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw CommError(failure_);
  ready.hold(stream_->get());
  settle(call, enqueue());
  auto mark = std::make_shared<StreamMark>(stream_->get());
  flights_.push_back({call, mark, now() + timeout_seconds_});
  return mark;
}

NcclGroup::Mark NcclGroup::exchange(const NcclCall& call, const std::vector<NcclPiece>& pieces,
                                    const StreamMark& ready) {
  return launch(call, ready, [&] { return exchange_pieces(pieces, comm_, stream_->get()); });
}

NcclGroup::Mark NcclGroup::all_reduce(void* data, int64_t count, NcclType type, bool max,
                                      const StreamMark& ready) {
  return launch({"all_reduce", count * bytes_of(type)}, ready, [&] {
    return ncclAllReduce(data, data, static_cast<size_t>(count), library_type(type),
                         max ? ncclMax : ncclSum, comm_, stream_->get());
  });
}

NcclGroup::Mark NcclGroup::reduce(const void* input, void* output, int64_t count, NcclType type,
                                  int64_t root, const StreamMark& ready) {
  return launch({"reduce", count * bytes_of(type)}, ready, [&] {
    return ncclReduce(input, output, static_cast<size_t>(count), library_type(type), ncclSum,
                      static_cast<int>(root), comm_, stream_->get());
  });
}

NcclGroup::Mark NcclGroup::reduce_scatter(void* output, const void* input, int64_t count,
                                          NcclType type, const StreamMark& ready) {
  return launch({"reduce_scatter", count * bytes_of(type)}, ready, [&] {
    return ncclReduceScatter(input, output, static_cast<size_t>(count), library_type(type), ncclSum,
                             comm_, stream_->get());
  });
}

NcclGroup::Mark NcclGroup::all_gather(void* output, const void* input, int64_t bytes,
                                      const StreamMark& ready) {
  return launch({"all_gather", bytes}, ready, [&] {
    return ncclAllGather(input, output, static_cast<size_t>(bytes), ncclUint8, comm_,
                         stream_->get());
  });
}

NcclGroup::Mark NcclGroup::broadcast(void* data, int64_t bytes, int64_t root,
                                     const StreamMark& ready) {
  return launch({"broadcast", bytes}, ready, [&] {
    return ncclBroadcast(data, data, static_cast<size_t>(bytes), ncclUint8, static_cast<int>(root),
                         comm_, stream_->get());
  });
}

}  // namespace dsmoe::parallel
