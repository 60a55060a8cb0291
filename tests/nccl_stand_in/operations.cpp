// What the ranks of a communicator do with each other once their streams are there.
#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "hub.h"

namespace nccl_stand_in {
namespace {

const char* name_of(Kind kind) {
  constexpr std::array kNames{"Send",          "Recv",      "AllReduce", "Reduce",
                              "ReduceScatter", "AllGather", "Broadcast"};
  return kNames.at(static_cast<size_t>(kind));
}

bool is_message(const Operation& operation) {
  return operation.kind == Kind::kSend || operation.kind == Kind::kReceive;
}

/// What must be the same on all ranks of a collective.
std::string signature(const Operation& o) {
  std::ostringstream text;
  text << name_of(o.kind) << " of " << o.count << " of type " << o.type;
  if (reduces(o.kind)) text << ", reduction " << o.op;
  if (o.kind == Kind::kBroadcast || o.kind == Kind::kReduce) text << ", root " << o.peer;
  return text.str();
}

Operations& lane(const Operation& o) {
  Clique& clique = *o.comm->clique;
  return o.kind == Kind::kSend ? clique.sends[{o.comm->rank, o.peer}]
                               : clique.receives[{o.peer, o.comm->rank}];
}

std::shared_ptr<Operation> counterpart(const Operation& o) {
  Clique& clique = *o.comm->clique;
  const auto& other = o.kind == Kind::kSend ? clique.receives[{o.comm->rank, o.peer}]
                                            : clique.sends[{o.peer, o.comm->rank}];
  const auto number = static_cast<size_t>(o.number);
  return number < other.size() ? other[number] : nullptr;
}

bool is_dead(const Operation& o) { return o.comm->state != ncclComm::State::kLive; }

size_t bytes_of(const Operation& o) { return o.count * size_of(o.type); }

void move(const void* from, void* to, size_t bytes) {
  if (bytes > 0 && from != to) std::memmove(to, from, bytes);
}

template <typename T>
std::vector<char> reduce_as(const Operations& ranks, size_t count, ncclRedOp_t op) {
  std::vector<char> bytes(count * sizeof(T));
  auto* sum = reinterpret_cast<T*>(bytes.data());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto* in = static_cast<const T*>(ranks[rank]->input);
    for (size_t i = 0; i < count; ++i) {
      sum[i] = rank == 0 ? in[i] : op == ncclSum ? sum[i] + in[i] : std::max(sum[i], in[i]);
    }
  }
  return bytes;
}

std::vector<char> reduce(const Operations& ranks, size_t count) {
  const Operation& first = *ranks.front();
  if (first.type == ncclFloat32) return reduce_as<float>(ranks, count, first.op);
  if (first.type == ncclFloat64) return reduce_as<double>(ranks, count, first.op);
  return reduce_as<int64_t>(ranks, count, first.op);
}

void perform(const Operations& ranks) {
  const Operation& first = *ranks.front();
  const size_t bytes = bytes_of(first);
  const bool scatters = first.kind == Kind::kReduceScatter;
  std::vector<char> sum;
  if (reduces(first.kind)) {
    sum = reduce(ranks, first.count * (scatters ? ranks.size() : 1));
  }
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    auto* output = static_cast<char*>(ranks[rank]->output);
    if (first.kind == Kind::kReduce && static_cast<int>(rank) != first.peer) continue;
    if (!sum.empty()) move(sum.data() + (scatters ? rank * bytes : 0), output, bytes);
    if (first.kind == Kind::kBroadcast) {
      move(ranks[static_cast<size_t>(first.peer)]->input, output, bytes);
    }
    if (first.kind != Kind::kAllGather) continue;
    for (size_t from = 0; from < ranks.size(); ++from) {
      move(ranks[from]->input, output + from * bytes, bytes);
    }
  }
}

void fail_all(const Operations& operations, const std::string& reason) {
  for (const auto& operation : operations) fail(*operation->comm, ncclInvalidUsage, reason);
}

void meet(const Operations& ranks) {
  for (const auto& other : ranks) {
    if (!other || !other->arrived || is_dead(*other)) return;
  }
  for (const auto& other : ranks) {
    if (signature(*other) != signature(*ranks.front())) {
      return fail_all(ranks, describe(*ranks.front()) + ", but " + describe(*other));
    }
  }
  perform(ranks);
  for (const auto& other : ranks) other->complete = true;
}

void deliver(Operation& mine, Operation& other) {
  if (!other.arrived || is_dead(mine) || is_dead(other)) return;
  const Operation& send = mine.kind == Kind::kSend ? mine : other;
  const Operation& receive = mine.kind == Kind::kSend ? other : mine;
  if (send.count != receive.count || send.type != receive.type) {
    const std::string reason = describe(send) + ", but " + describe(receive);
    fail(*mine.comm, ncclInvalidUsage, reason);
    return fail(*other.comm, ncclInvalidUsage, reason);
  }
  move(send.input, receive.output, bytes_of(send));
  mine.complete = other.complete = true;
}

}  // namespace

size_t size_of(ncclDataType_t type) {
  constexpr std::array<size_t, 10> kSizes{1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return kSizes.at(static_cast<size_t>(type));
}

bool Clique::joined() const {
  return std::all_of(members.begin(), members.end(),
                     [](auto* member) { return member != nullptr; });
}

std::string describe(const Operation& o) {
  const std::string rank = "rank " + std::to_string(o.comm->rank) + " calls " + signature(o);
  if (!is_message(o)) return rank;
  return rank + (o.kind == Kind::kSend ? " to " : " from ") + std::to_string(o.peer);
}

Operations partners(const Operation& o) {
  if (is_message(o)) return {counterpart(o)};
  Operations others = o.comm->clique->collectives[o.number];
  others.erase(others.begin() + o.comm->rank);
  return others;
}

void enqueue(const Operations& operations) {
  for (const auto& operation : operations) {
    if (is_message(*operation)) {
      Operations& messages = lane(*operation);
      operation->number = static_cast<int64_t>(messages.size());
      messages.push_back(operation);
    } else {
      operation->number = operation->comm->collectives++;
      Operations& ranks = operation->comm->clique->collectives[operation->number];
      ranks.resize(operation->comm->clique->members.size());
      ranks[static_cast<size_t>(operation->comm->rank)] = operation;
    }
    Hub& all = hub();
    if (operation->comm->rank == all.failing_rank && all.fails_in > 0) {
      operation->fails = --all.fails_in == 0;
    }
  }
}

void arrive(Operation& o) {
  if (o.fails) return fail(*o.comm, ncclRemoteError, "the peer's connection was lost");
  o.arrived = true;
  if (!is_message(o)) return meet(o.comm->clique->collectives[o.number]);
  if (const auto other = counterpart(o)) deliver(o, *other);
}

bool is_over(const Operation& o) { return o.complete || is_dead(o); }

void fail(ncclComm& comm, ncclResult_t result, const std::string& reason) {
  if (comm.error != ncclSuccess) return;
  comm.error = result;
  comm.reason = reason;
}

}  // namespace nccl_stand_in
