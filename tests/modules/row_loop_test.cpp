#include "modules/row_loop.h"

#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace dsmoe::nn {
namespace {

struct ThreadCount {
  int before = at::get_num_threads();
  explicit ThreadCount(int count) { at::set_num_threads(count); }
  ~ThreadCount() { at::set_num_threads(before); }
};

TEST_CASE("rows are shared out over the threads, each row once") {
  const ThreadCount three(3);
  std::mutex lock;
  std::set<std::thread::id> threads;
  std::vector<int> visits(3000);
  for_rows(3000, 1 << 10, [&](int64_t begin, int64_t end) {
    const std::lock_guard hold(lock);
    threads.insert(std::this_thread::get_id());
    for (int64_t r = begin; r < end; ++r) ++visits[static_cast<size_t>(r)];
  });
  CHECK(threads.size() == 3);
  CHECK(visits == std::vector<int>(3000, 1));
}

TEST_CASE("few rows stay on the calling thread") {
  const ThreadCount three(3);
  std::set<std::thread::id> threads;
  for_rows(8, 16, [&](int64_t, int64_t) { threads.insert(std::this_thread::get_id()); });
  CHECK(threads == std::set{std::this_thread::get_id()});
}

}  // namespace
}  // namespace dsmoe::nn
