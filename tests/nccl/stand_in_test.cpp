// The stand-in is only worth what it notices.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace {

/// A rank with a blocking communicator and one stream; ends with an abort where it fails.
struct Rank {
  int rank = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<float> data = std::vector<float>(8, 1.0F);

  /// The first error that the library finds, which it says is its own; "" when all goes well.
  std::string outcome() {
    cudaEvent_t done = nullptr;
    cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
    cudaEventRecord(done, stream);
    ncclResult_t error = ncclSuccess;
    while (error == ncclSuccess && cudaEventQuery(done) == cudaErrorNotReady) {
      std::this_thread::yield();
      ncclCommGetAsyncError(comm, &error);
    }
    cudaEventDestroy(done);
    return error == ncclSuccess ? "" : ncclGetLastError(comm);
  }
};

using Results = std::vector<std::string>;

Results on_ranks(int size, const std::function<std::string(Rank&)>& fn) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  Results results(static_cast<size_t>(size));
  std::atomic<int> finished{0};
  const auto body = [&](int number) {
    Rank rank{number};
    cudaSetDevice(number);
    cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclCommInitRankConfig(&rank.comm, size, id, number, &config);
    results[static_cast<size_t>(number)] = fn(rank);
    ++finished;
    while (finished < size) std::this_thread::yield();
    ncclCommAbort(rank.comm);
    cudaStreamDestroy(rank.stream);
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < size; ++number) threads.emplace_back(body, number);
  for (auto& thread : threads) thread.join();
  return results;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

ncclResult_t send(Rank& rank, int peer, size_t count = 4) {
  return ncclSend(rank.data.data(), count, ncclFloat32, peer, rank.comm, rank.stream);
}

ncclResult_t receive(Rank& rank, int peer, size_t count = 4, ncclDataType_t type = ncclFloat32) {
  return ncclRecv(rank.data.data() + 4, count, type, peer, rank.comm, rank.stream);
}

ncclResult_t all_reduce(Rank& rank, size_t count, ncclDataType_t type = ncclFloat32) {
  return ncclAllReduce(rank.data.data(), rank.data.data(), count, type, ncclSum, rank.comm,
                       rank.stream);
}

}  // namespace

TEST_CASE("stand-in: two ranks that send first, outside a group, are reported") {
  const auto results = on_ranks(2, [](Rank& rank) {
    send(rank, 1 - rank.rank);
    receive(rank, 1 - rank.rank);
    return rank.outcome();
  });
  for (const auto& result : results) {
    CHECK(has(result, "streams wait for each other: rank"));
    CHECK(has(result, "belong into one group"));
  }
}

TEST_CASE("stand-in: three ranks that send around in a circle, outside a group, are reported") {
  const auto results = on_ranks(3, [](Rank& rank) {
    send(rank, (rank.rank + 1) % 3);
    receive(rank, (rank.rank + 2) % 3);
    return rank.outcome();
  });
  for (const auto& result : results) CHECK(has(result, "streams wait for each other"));
}

TEST_CASE("stand-in: the same messages in one group arrive") {
  const auto results = on_ranks(2, [](Rank& rank) {
    rank.data.assign(8, static_cast<float>(rank.rank + 1));
    ncclGroupStart();
    send(rank, 1 - rank.rank);
    receive(rank, 1 - rank.rank);
    ncclGroupEnd();
    const std::string outcome = rank.outcome();
    return outcome + std::to_string(static_cast<int>(rank.data[7]));
  });
  CHECK(results == Results{"2", "1"});
}

TEST_CASE("stand-in: collectives in another order on another rank are reported") {
  const auto results = on_ranks(2, [](Rank& rank) {
    if (rank.rank == 0) {
      all_reduce(rank, 4);
    } else {
      ncclBroadcast(rank.data.data(), rank.data.data(), 4, ncclFloat32, 0, rank.comm, rank.stream);
    }
    return rank.outcome();
  });
  for (const auto& result : results) {
    CHECK(has(result, "rank 0 calls AllReduce of 4 of type 7"));
    CHECK(has(result, "but rank 1 calls Broadcast of 4 of type 7"));
  }
}

TEST_CASE("stand-in: another dtype and another count are reported") {
  const auto types = on_ranks(2, [](Rank& rank) {
    all_reduce(rank, 4, rank.rank == 0 ? ncclFloat32 : ncclInt64);
    return rank.outcome();
  });
  CHECK(has(types[0], "of 4 of type 7, reduction 0, but rank 1 calls AllReduce of 4 of type 4"));
  const auto counts = on_ranks(2, [](Rank& rank) {
    if (rank.rank == 0) send(rank, 1, 3);
    if (rank.rank == 1) receive(rank, 0, 4);
    return rank.outcome();
  });
  CHECK(has(counts[1], "rank 0 calls Send of 3 of type 7 to 1, but rank 1 calls Recv of 4"));
}

TEST_CASE("stand-in: without an event a collective overtakes what another stream computes") {
  std::atomic<bool> open{false};
  struct Fill {
    std::atomic<bool>* open;
    float* data;
  };
  const auto run = [](void* it) {
    const auto& fill = *static_cast<Fill*>(it);
    while (!*fill.open) std::this_thread::yield();
    *fill.data = 50.0F;
  };
  const auto sum_of_first = [&](bool waits) {
    open = false;
    std::atomic<int> summed{0};
    const auto sums = on_ranks(2, [&](Rank& rank) {
      Fill fill{&open, rank.data.data()};
      cudaStream_t compute = nullptr;
      cudaEvent_t computed = nullptr;
      cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking);
      cudaEventCreateWithFlags(&computed, cudaEventDisableTiming);
      cudaLaunchHostFunc(compute, run, &fill);
      cudaEventRecord(computed, compute);
      if (waits) {
        cudaStreamWaitEvent(rank.stream, computed, 0);
        open = true;
      }
      std::array<float, 1> sum{};
      ncclAllReduce(rank.data.data(), sum.data(), 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
      cudaStreamSynchronize(rank.stream);
      ++summed;
      while (summed < 2) std::this_thread::yield();
      open = true;
      cudaStreamDestroy(compute);
      cudaEventDestroy(computed);
      return std::to_string(static_cast<int>(sum[0]));
    });
    return sums;
  };
  CHECK(sum_of_first(/*waits=*/false) == Results{"2", "2"});
  CHECK(sum_of_first(/*waits=*/true) == Results{"100", "100"});
}

TEST_CASE("stand-in: arguments that the library refuses are refused") {
  const auto results = on_ranks(2, [](Rank& rank) {
    const auto data = rank.data.data();
    std::string codes = std::to_string(send(rank, 2)) + std::to_string(send(rank, -1));
    codes += std::to_string(ncclSend(nullptr, 4, ncclFloat32, 0, rank.comm, rank.stream));
    codes += std::to_string(ncclSend(data, 4, ncclFloat32, 0, nullptr, rank.stream));
    codes += std::to_string(ncclSend(data, 4, ncclFloat32, 0, rank.comm, nullptr));
    codes += std::to_string(ncclSend(data, 4, ncclNumTypes, 0, rank.comm, rank.stream));
    codes += std::to_string(ncclGroupEnd());
    return codes;
  });
  for (const auto& codes : results) CHECK(codes == "4444445");
}

TEST_CASE("stand-in: a communicator is not used after its abort") {
  const auto results = on_ranks(2, [](Rank& rank) {
    ncclCommAbort(rank.comm);
    const std::string code = std::to_string(all_reduce(rank, 4));
    return code + ncclGetLastError(nullptr);
  });
  for (const auto& result : results) CHECK(result == "4the communicator was aborted");
}

TEST_CASE("stand-in: an abort frees a stream that waits for a peer") {
  const auto results = on_ranks(2, [](Rank& rank) {
    if (rank.rank == 1) return std::string("absent");
    all_reduce(rank, 4);
    ncclCommAbort(rank.comm);
    return std::to_string(cudaStreamSynchronize(rank.stream));
  });
  CHECK(results == Results{"0", "absent"});
}

TEST_CASE("stand-in: a communicator that does not block is asked whether it has begun") {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  std::array<ncclComm_t, 2> comms{};
  std::vector<float> data(4);
  cudaSetDevice(0);
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  CHECK(ncclCommInitRankConfig(&comms[0], 2, id, 0, &config) == ncclInProgress);
  const auto reduce = [&] {
    return ncclAllReduce(data.data(), data.data(), 4, ncclFloat32, ncclSum, comms[0], stream);
  };
  CHECK(reduce() == ncclInvalidUsage);
  CHECK(ncclCommInitRankConfig(&comms[1], 2, id, 1, &config) == ncclInvalidUsage);  // same device
  cudaSetDevice(1);
  CHECK(ncclCommInitRankConfig(&comms[1], 2, id, 1, &config) == ncclInProgress);
  CHECK(reduce() == ncclInProgress);
  CHECK(reduce() == ncclInvalidUsage);
  ncclResult_t state = ncclSuccess;
  ncclCommGetAsyncError(comms[0], &state);
  CHECK(state == ncclInProgress);
  ncclCommGetAsyncError(comms[0], &state);
  CHECK(state == ncclSuccess);
  for (const auto comm : comms) ncclCommAbort(comm);
  cudaStreamDestroy(stream);
  cudaSetDevice(0);
}
