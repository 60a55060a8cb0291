#include "parallel/thread_hub.h"

#include <utility>

#include "configs/errors.h"

namespace dsmoe::parallel {
namespace {

size_t at_rank(int64_t rank) { return static_cast<size_t>(rank); }

}  // namespace

ThreadHub::ThreadHub(std::shared_ptr<ThreadWorldState> state, int64_t size, std::string name)
    : state_(std::move(state)),
      size_(size),
      name_(std::move(name)),
      next_(at_rank(size), 0),
      left_(at_rank(size), false) {}

int64_t ThreadHub::post(int64_t rank, ThreadPost post) {
  const std::lock_guard lock(state_->mutex);
  const int64_t number = next_[at_rank(rank)]++;
  Meeting& meeting = meetings_[number];
  if (!meeting.posts) {
    meeting.posts = std::make_shared<std::vector<ThreadPost>>(at_rank(size_));
    meeting.posted.assign(at_rank(size_), false);
  }
  (*meeting.posts)[at_rank(rank)] = std::move(post);
  meeting.posted[at_rank(rank)] = true;
  if (++meeting.num_posted == size_) state_->changed.notify_all();
  return number;
}

bool ThreadHub::complete(int64_t rank, int64_t number) {
  const std::lock_guard lock(state_->mutex);
  const Meeting& meeting = meetings_.at(number);
  if (meeting.num_posted == size_) return true;
  throw_if_hopeless(meeting, rank);
  return false;
}

std::shared_ptr<const std::vector<ThreadPost>> ThreadHub::collect(int64_t rank, int64_t number) {
  std::unique_lock lock(state_->mutex);
  Meeting& meeting = meetings_.at(number);
  const auto until = deadline();
  while (meeting.num_posted < size_) {
    throw_if_hopeless(meeting, rank);
    if (state_->changed.wait_until(lock, until) == std::cv_status::timeout &&
        meeting.num_posted < size_) {
      throw_timeout(meeting, rank);
    }
  }
  throw_if_different(meeting, rank);
  auto posts = meeting.posts;
  if (++meeting.num_collected == size_) meetings_.erase(number);
  return posts;
}

std::chrono::steady_clock::time_point ThreadHub::deadline() const {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(state_->timeout_seconds));
}

void ThreadHub::send(int64_t from, int64_t to, ThreadPost message) {
  const std::lock_guard lock(state_->mutex);
  Box& box = boxes_[{from, to}];
  box.messages[box.sent++] = std::move(message);
  state_->changed.notify_all();
}

int64_t ThreadHub::expect(int64_t from, int64_t to) {
  const std::lock_guard lock(state_->mutex);
  return boxes_[{from, to}].expected++;
}

bool ThreadHub::arrived(int64_t from, int64_t to, int64_t number) {
  const std::lock_guard lock(state_->mutex);
  if (boxes_[{from, to}].messages.contains(number)) return true;
  throw_if_lost(from, to);
  return false;
}

ThreadPost ThreadHub::take(int64_t from, int64_t to, int64_t number) {
  std::unique_lock lock(state_->mutex);
  auto& messages = boxes_[{from, to}].messages;
  const auto until = deadline();
  while (!messages.contains(number)) {
    throw_if_lost(from, to);
    if (state_->changed.wait_until(lock, until) == std::cv_status::timeout &&
        !messages.contains(number)) {
      throw CommError(lost(
          from, to, "nothing arrived within " + std::to_string(state_->timeout_seconds) + " s"));
    }
  }
  return std::move(messages.extract(number).mapped());
}

void ThreadHub::throw_if_lost(int64_t from, int64_t to) const {
  if (state_->broken) throw CommError(lost(from, to, state_->reason));
  if (left_[at_rank(from)]) throw CommError(lost(from, to, "that rank left the group"));
}

std::string ThreadHub::lost(int64_t from, int64_t to, const std::string& reason) const {
  return "receive from rank " + std::to_string(from) + " failed on group '" + name_ + "', rank " +
         std::to_string(to) + " of " + std::to_string(size_) + ": " + reason;
}

std::shared_ptr<ThreadHub> ThreadHub::child(int64_t number, int64_t color, int64_t size,
                                            const std::string& name) {
  const std::lock_guard lock(state_->mutex);
  auto& hub = children_[{number, color}];
  if (!hub) hub = std::make_shared<ThreadHub>(state_, size, name);
  return hub;
}

void ThreadHub::leave(int64_t rank) {
  const std::lock_guard lock(state_->mutex);
  left_[at_rank(rank)] = true;
  state_->changed.notify_all();
}

void ThreadHub::fail(const std::string& reason) {
  const std::lock_guard lock(state_->mutex);
  if (!state_->broken) state_->reason = reason;
  state_->broken = true;
  state_->changed.notify_all();
}

void ThreadHub::throw_if_hopeless(const Meeting& meeting, int64_t rank) const {
  if (state_->broken) throw CommError(failure(meeting, rank, state_->reason));
  for (int64_t peer = 0; peer < size_; ++peer) {
    if (left_[at_rank(peer)] && !meeting.posted[at_rank(peer)]) {
      throw CommError(failure(meeting, rank, "rank " + std::to_string(peer) + " left the group"));
    }
  }
}

void ThreadHub::throw_if_different(const Meeting& meeting, int64_t rank) const {
  const auto& posts = *meeting.posts;
  for (size_t peer = 1; peer < posts.size(); ++peer) {
    if (posts[peer].signature != posts[0].signature) {
      throw CommError(failure(meeting, rank,
                              "rank 0 calls " + posts[0].signature + ", rank " +
                                  std::to_string(peer) + " calls " + posts[peer].signature));
    }
  }
}

void ThreadHub::throw_timeout(const Meeting& meeting, int64_t rank) const {
  throw CommError(failure(meeting, rank,
                          std::to_string(meeting.num_posted) + " of " + std::to_string(size_) +
                              " ranks arrived within " + std::to_string(state_->timeout_seconds) +
                              " s"));
}

std::string ThreadHub::failure(const Meeting& meeting, int64_t rank,
                               const std::string& reason) const {
  return (*meeting.posts)[at_rank(rank)].signature + " failed on group '" + name_ + "', rank " +
         std::to_string(rank) + " of " + std::to_string(size_) + ": " + reason;
}

}  // namespace dsmoe::parallel
