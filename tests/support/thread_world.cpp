#include "tests/support/thread_world.h"

#include <ATen/Parallel.h>

#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/thread_communicator.h"

namespace dsmoe::test {
namespace {

/// at::set_num_threads also sets what threads started later begin with.
class OneComputeThread final {
 public:
  OneComputeThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneComputeThread() { at::set_num_threads(before_); }
  OneComputeThread(const OneComputeThread&) = delete;
  OneComputeThread& operator=(const OneComputeThread&) = delete;

 private:
  int before_;
};

class FirstError final {
 public:
  void keep(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

void run_ranks(int64_t num_ranks, const std::function<void(parallel::Communicator& world)>& fn) {
  const OneComputeThread one_compute_thread;
  auto ranks = parallel::make_thread_world(num_ranks);
  FirstError first;
  std::vector<std::thread> threads;
  for (auto& rank : ranks) {
    threads.emplace_back([&fn, &first, world = std::move(rank)] {
      at::set_num_threads(1);
      try {
        fn(*world);
      } catch (const std::exception& error) {
        first.keep(std::current_exception());
        world->abandon("rank " + std::to_string(world->rank()) + " threw: " + error.what());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  first.rethrow();
}

}  // namespace dsmoe::test
