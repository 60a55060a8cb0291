#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/nccl_group.h"

namespace dsmoe::parallel {

/// A thread that looks after the groups of one rank, since a host that waits for its device cannot:
/// a group whose library failed, or whose operation is late, is aborted, and the host goes on.
class NcclWatch final {
 public:
  explicit NcclWatch(int64_t device, double seconds_between);
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;
  void add(NcclGroup& group);
  void remove(NcclGroup& group);

 private:
  void run(int64_t device);

  const double seconds_between_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::vector<NcclGroup*> groups_;
  std::thread thread_;
};

}  // namespace dsmoe::parallel
