#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace dsmoe::parallel {

/// What one rank brings to a collective. The signature says what the call is (operation, dtype,
/// shape); it must be the same on all ranks.
struct ThreadPost {
  std::string signature;
  std::vector<std::byte> bytes;
  std::vector<int64_t> split_sizes;
};

/// The lock and the health of a world of threads, shared by all groups split from it.
struct ThreadWorldState {
  std::mutex mutex;
  std::condition_variable changed;
  bool broken = false;
  std::string reason;
  double timeout_seconds = 120.0;
};

/// The meeting point of one group. A collective is: every rank posts a copy of what it sends,
/// then each reads the posts of all. The n-th post of a rank meets the n-th posts of the others.
/// Messages between two ranks go through a box, in order. All functions are thread-safe.
class ThreadHub final {
 public:
  ThreadHub(std::shared_ptr<ThreadWorldState> state, int64_t size, std::string name);

  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  /// Never blocks. Returns the number of this collective.
  int64_t post(int64_t rank, ThreadPost post);
  /// True when all ranks have posted. Throws CommError when they never will.
  bool complete(int64_t rank, int64_t number);
  /// Blocks until all ranks have posted; returns their posts in rank order. Once per rank.
  /// Throws CommError when a rank left or failed, posted another call, or when time is up.
  std::shared_ptr<const std::vector<ThreadPost>> collect(int64_t rank, int64_t number);
  /// Puts a message into the box from one rank to another. Never blocks.
  void send(int64_t from, int64_t to, ThreadPost message);
  /// The number of the next message in that box that nobody expects yet.
  int64_t expect(int64_t from, int64_t to);
  /// True when that message is there. Throws CommError when it never will be.
  bool arrived(int64_t from, int64_t to, int64_t number);
  /// Blocks until it is there. Once per message. Throws CommError as collect.
  ThreadPost take(int64_t from, int64_t to, int64_t number);
  /// The group of the ranks that split with this color in collective `number`.
  std::shared_ptr<ThreadHub> child(int64_t number, int64_t color, int64_t size,
                                   const std::string& name);
  /// The rank makes no more calls: peers that wait for one throw CommError.
  void leave(int64_t rank);
  /// Breaks the whole world; the first reason stays.
  void fail(const std::string& reason);

 private:
  struct Meeting {
    std::shared_ptr<std::vector<ThreadPost>> posts;
    std::vector<bool> posted;
    int64_t num_posted = 0;
    int64_t num_collected = 0;
  };

  /// Messages from one rank to another, numbered from 0.
  struct Box {
    std::map<int64_t, ThreadPost> messages;
    int64_t sent = 0;
    int64_t expected = 0;
  };

  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const;
  void throw_if_lost(int64_t from, int64_t to) const;
  [[nodiscard]] std::string lost(int64_t from, int64_t to, const std::string& reason) const;
  void throw_if_hopeless(const Meeting& meeting, int64_t rank) const;
  void throw_if_different(const Meeting& meeting, int64_t rank) const;
  [[noreturn]] void throw_timeout(const Meeting& meeting, int64_t rank) const;
  [[nodiscard]] std::string failure(const Meeting& meeting, int64_t rank,
                                    const std::string& reason) const;

  std::shared_ptr<ThreadWorldState> state_;
  int64_t size_;
  std::string name_;
  std::vector<int64_t> next_;
  std::vector<bool> left_;
  std::map<int64_t, Meeting> meetings_;
  std::map<std::pair<int64_t, int64_t>, Box> boxes_;
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<ThreadHub>> children_;
};

}  // namespace dsmoe::parallel
