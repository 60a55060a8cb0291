// NCCL's entry points: what they check, and how calls become entries of streams.
#include <cstring>
#include <set>

#include "hub.h"
#include "stand_in.h"

namespace nccl_stand_in {
namespace {

/// Communicators are never freed, so that the use of a dead one is found.
std::set<ncclComm*>& all_comms() {
  static std::set<ncclComm*> comms;
  return comms;
}

std::map<std::string, std::shared_ptr<Clique>>& cliques() {
  static std::map<std::string, std::shared_ptr<Clique>> by_id;
  return by_id;
}

struct OpenGroup {
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  Operations operations{};
};
thread_local OpenGroup open_group;
thread_local std::string last_error;

ncclResult_t refuse(ncclResult_t result, const std::string& reason) {
  last_error = reason;
  return result;
}

ncclResult_t check_comm(ncclComm* comm) {
  if (all_comms().count(comm) == 0) return refuse(ncclInvalidArgument, "no such communicator");
  if (comm->state == ncclComm::State::kAborted) {
    return refuse(ncclInvalidArgument, "the communicator was aborted");
  }
  if (comm->state == ncclComm::State::kDestroyed) {
    return refuse(ncclInvalidArgument, "the communicator was destroyed");
  }
  return ncclSuccess;
}

bool needs(const void* data, const Operation& o) { return o.count > 0 && data == nullptr; }

ncclResult_t check_data(const Operation& o) {
  const bool reads = o.kind != Kind::kReceive;
  const bool writes = o.kind != Kind::kSend && (o.kind != Kind::kReduce || o.comm->rank == o.peer);
  if ((reads && needs(o.input, o)) || (writes && needs(o.output, o))) {
    return refuse(ncclInvalidArgument, "a buffer is null");
  }
  if (o.type < 0 || o.type > ncclBfloat16) return refuse(ncclInvalidArgument, "no such type");
  const bool sums = reduces(o.kind);
  if (!sums) return ncclSuccess;
  if (o.op != ncclSum && o.op != ncclMax) {
    return refuse(ncclInvalidArgument, "the stand-in reduces by sum and max only");
  }
  if (o.type == ncclFloat32 || o.type == ncclFloat64 || o.type == ncclInt64) return ncclSuccess;
  return refuse(ncclInvalidArgument, "the stand-in reduces float32, float64 and int64 only");
}

ncclResult_t check(const Operation& o) {
  const ncclResult_t comm = check_comm(o.comm);
  if (comm != ncclSuccess) return comm;
  if (!o.comm->clique->joined()) return refuse(ncclInvalidUsage, "not all ranks have joined");
  if (o.comm->error != ncclSuccess) return refuse(o.comm->error, o.comm->reason);
  if (o.comm->in_progress > 0) {
    return refuse(ncclInvalidUsage, "the call before is still in progress");
  }
  const auto size = static_cast<int>(o.comm->clique->members.size());
  if (o.peer < 0 || o.peer >= size) {
    return refuse(ncclInvalidArgument,
                  "rank " + std::to_string(o.peer) + " of " + std::to_string(size));
  }
  if (o.stream == nullptr || o.stream->device != o.comm->device) {
    return refuse(ncclInvalidArgument, "the stream is not of the communicator's device");
  }
  return check_data(o);
}

/// One entry a stream, in the order of the calls.
void launch(const Operations& operations) {
  enqueue(operations);
  std::map<CUstream_st*, Operations> by_stream;
  for (const auto& operation : operations) by_stream[operation->stream].push_back(operation);
  for (auto& [stream, of_stream] : by_stream) push(*stream, {.operations = of_stream});
}

/// A communicator that does not block says so once, and is then asked.
ncclResult_t accepted(const Operations& operations) {
  bool blocks = true;
  for (const auto& operation : operations) {
    if (operation->comm->blocking) continue;
    operation->comm->in_progress = 1;
    blocks = false;
  }
  return blocks ? ncclSuccess : ncclInProgress;
}

ncclResult_t call(const Operation& operation) {
  const std::lock_guard lock(hub().mutex);
  const ncclResult_t checked = check(operation);
  const Operations one{std::make_shared<Operation>(operation)};
  if (open_group.depth > 0) {
    if (checked != ncclSuccess) open_group.error = checked;
    open_group.operations.push_back(one.front());
    return checked;
  }
  if (checked != ncclSuccess) return checked;
  launch(one);
  return accepted(one);
}

std::string key_of(const ncclUniqueId& id) { return {id.internal, sizeof(id.internal)}; }

ncclResult_t join(Clique& clique, ncclComm& comm, int size, int rank) {
  if (clique.members.empty()) clique.members.resize(static_cast<size_t>(size));
  if (static_cast<int>(clique.members.size()) != size || rank < 0 || rank >= size) {
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " +
                                           std::to_string(size) + " of a communicator of " +
                                           std::to_string(clique.members.size()));
  }
  for (const ncclComm* other : clique.members) {
    if (other != nullptr && (other->rank == rank || other->device == comm.device)) {
      return refuse(ncclInvalidUsage, "Duplicate GPU detected: ranks " +
                                          std::to_string(other->rank) + " and " +
                                          std::to_string(rank));
    }
  }
  clique.members[static_cast<size_t>(rank)] = &comm;
  return ncclSuccess;
}

ncclResult_t end(ncclComm* comm, ncclComm::State state) {
  const std::lock_guard lock(hub().mutex);
  const ncclResult_t checked = check_comm(comm);
  if (checked == ncclSuccess) comm->state = state;
  hub().changed.notify_all();
  return checked;
}

bool is_idle(ncclComm* comm) {
  const auto over = [&](const auto& all) {
    for (const auto& [key, operations] : all) {
      for (const auto& o : operations) {
        if (o && o->comm == comm && !is_over(*o)) return false;
      }
    }
    return true;
  };
  const Clique& clique = *comm->clique;
  return over(clique.collectives) && over(clique.sends) && over(clique.receives);
}

}  // namespace

void fail_operation(int rank, int nth) {
  const std::lock_guard lock(hub().mutex);
  hub().failing_rank = rank;
  hub().fails_in = nth;
}

}  // namespace nccl_stand_in

using namespace nccl_stand_in;  // NOLINT: what follows is the ABI of the same library

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "internal error";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  const std::lock_guard lock(hub().mutex);
  if (comm != nullptr && comm->error != ncclSuccess) last_error = comm->reason;
  return last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(hub().mutex);
  static int made = 0;
  std::memset(id, 0, sizeof(*id));
  const std::string text = "stand-in " + std::to_string(++made);
  std::memcpy(id->internal, text.data(), text.size());
  cliques()[key_of(*id)] = std::make_shared<Clique>();
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config != nullptr && config->magic != 0xcafebeef) return ncclInvalidArgument;
  auto made = std::make_unique<ncclComm>();
  cudaGetDevice(&made->device);
  std::unique_lock lock(hub().mutex);
  const auto found = cliques().find(key_of(id));
  if (found == cliques().end()) return refuse(ncclInvalidArgument, "nobody made this id");
  made->clique = found->second;
  made->rank = rank;
  made->blocking = config == nullptr || config->blocking != 0;
  const ncclResult_t joined = join(*found->second, *made, size, rank);
  if (joined != ncclSuccess) return joined;
  *comm = made.release();
  all_comms().insert(*comm);
  hub().changed.notify_all();
  if (!(*comm)->blocking) return ncclInProgress;
  hub().changed.wait(lock, [&] { return (*comm)->clique->joined(); });
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const std::lock_guard lock(hub().mutex);
  const ncclResult_t checked = check_comm(comm);
  if (checked != ncclSuccess) return checked;
  comm->finalizing = true;
  return is_idle(comm) ? ncclSuccess : ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) { return end(comm, ncclComm::State::kDestroyed); }

ncclResult_t ncclCommAbort(ncclComm_t comm) { return end(comm, ncclComm::State::kAborted); }

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  const std::lock_guard lock(hub().mutex);
  const ncclResult_t checked = check_comm(comm);
  if (checked != ncclSuccess) return checked;
  *error = comm->error;
  const bool busy = !comm->clique->joined() || (comm->finalizing && !is_idle(comm));
  if (comm->error == ncclSuccess && busy) *error = ncclInProgress;
  if (comm->error == ncclSuccess && comm->in_progress > 0) {
    --comm->in_progress;
    *error = ncclInProgress;
  }
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++open_group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (open_group.depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without a group");
  if (--open_group.depth > 0) return ncclSuccess;
  const OpenGroup group = std::exchange(open_group, {});
  if (group.error != ncclSuccess) return group.error;
  const std::lock_guard lock(hub().mutex);
  launch(group.operations);
  return accepted(group.operations);
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kSend, data, nullptr, count, type, ncclSum, peer, comm, stream});
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call({Kind::kReceive, nullptr, data, count, type, ncclSum, peer, comm, stream});
}

ncclResult_t ncclAllReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kAllReduce, input, output, count, type, op, 0, comm, stream});
}

ncclResult_t ncclReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kReduce, input, output, count, type, op, root, comm, stream});
}

ncclResult_t ncclReduceScatter(const void* input, void* output, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kReduceScatter, input, output, count, type, op, 0, comm, stream});
}

ncclResult_t ncclAllGather(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kAllGather, input, output, count, type, ncclSum, 0, comm, stream});
}

ncclResult_t ncclBroadcast(const void* input, void* output, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return call({Kind::kBroadcast, input, output, count, type, ncclSum, root, comm, stream});
}
