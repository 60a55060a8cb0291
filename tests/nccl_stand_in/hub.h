#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// One lock guards everything: streams, events, communicators and what meets in them.
namespace nccl_stand_in {

struct Hub {
  std::mutex mutex;
  std::condition_variable changed;
  int devices = 8;
  int failing_rank = -1;
  int fails_in = 0;
};
Hub& hub();

enum class Kind { kSend, kReceive, kAllReduce, kReduce, kReduceScatter, kAllGather, kBroadcast };

inline bool reduces(Kind kind) {
  return kind == Kind::kAllReduce || kind == Kind::kReduce || kind == Kind::kReduceScatter;
}

/// A call of one rank. `peer` is the other rank of a message, or the root.
struct Operation {
  Kind kind;
  const void* input;
  void* output;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;
  ncclComm* comm;
  CUstream_st* stream;
  int64_t number = 0;     ///< of the collective, or of the message from one rank to another
  bool arrived = false;   ///< its stream got there
  bool complete = false;  ///< its data has moved
  bool fails = false;
};
using Operations = std::vector<std::shared_ptr<Operation>>;

/// One recording of an event.
struct Record {
  CUstream_st* stream;
  bool done = false;
};

/// What a stream works off in order: exactly one of the four.
struct Task {
  std::function<void()> function{};
  std::shared_ptr<Record> record{};
  std::shared_ptr<Record> awaited{};
  Operations operations{};
};

/// The ranks of a communicator.
struct Clique {
  std::vector<ncclComm*> members;
  std::map<int64_t, Operations> collectives;  ///< by number, then by rank
  /// By sender and receiver, in the order of the calls.
  std::map<std::pair<int, int>, Operations> sends, receives;

  [[nodiscard]] bool joined() const;
};

[[nodiscard]] std::string describe(const Operation& operation);
/// The operations of other ranks that this one cannot do without; null where one is not called yet.
[[nodiscard]] Operations partners(const Operation& operation);
/// Notes a call; the lock is held.
void enqueue(const Operations& operations);
/// The stream got to the operation: does what can be done now. The lock is held.
void arrive(Operation& operation);
/// Whether the stream may leave it behind: it is complete, or its communicator aborted.
[[nodiscard]] bool is_over(const Operation& operation);
/// The communicator, and those it waits with, can go on no more. The lock is held.
void fail(ncclComm& comm, ncclResult_t result, const std::string& reason);
/// Fails the communicators of streams that wait for each other in a circle that holds `stream`.
void look_for_deadlock(CUstream_st& stream);
void push(CUstream_st& stream, Task task);
size_t size_of(ncclDataType_t type);

}  // namespace nccl_stand_in

struct CUstream_st {
  int device = 0;
  std::deque<nccl_stand_in::Task> tasks{};
  bool ended = false;
  std::thread worker{};
};

struct CUevent_st {
  std::shared_ptr<nccl_stand_in::Record> latest{};
};

struct ncclComm {
  std::shared_ptr<nccl_stand_in::Clique> clique;
  int rank = 0;
  int device = 0;
  bool blocking = true;
  bool finalizing = false;
  enum class State { kLive, kAborted, kDestroyed } state = State::kLive;
  ncclResult_t error = ncclSuccess;
  std::string reason{};
  int in_progress = 0;  ///< how often the next question is answered so
  int64_t collectives = 0;
};
