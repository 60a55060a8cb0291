#include "parallel/nccl_watch.h"

#include <algorithm>
#include <chrono>

namespace dsmoe::parallel {

NcclWatch::NcclWatch(int64_t device, double seconds_between)
    : seconds_between_(seconds_between), thread_([this, device] { run(device); }) {}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void NcclWatch::add(NcclGroup& group) {
  const std::lock_guard lock(mutex_);
  groups_.push_back(&group);
}

void NcclWatch::remove(NcclGroup& group) {
  const std::lock_guard lock(mutex_);
  groups_.erase(std::find(groups_.begin(), groups_.end(), &group));
}

void NcclWatch::run(int64_t device) {
  use_device(device);
  std::unique_lock lock(mutex_);
  while (!end_) {
    for (NcclGroup* group : groups_) group->watch();
    ended_.wait_for(lock, std::chrono::duration<double>(seconds_between_));
  }
}

}  // namespace dsmoe::parallel
