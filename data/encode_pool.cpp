#include "data/encode_pool.h"

#include <array>
#include <utility>

namespace dsmoe::data {
namespace {

TokenChunk encode(const TextChunk& chunk, const Tokenizer& tokenizer, TokenType type) {
  const std::array bos{tokenizer.bos()};
  const std::array eos{tokenizer.eos()};
  TokenChunk result;
  result.text_bytes = chunk.text_bytes;
  result.bytes_in_file = chunk.bytes_in_file;
  for (const std::string& text : chunk.texts) {
    const std::vector<int64_t> ids = tokenizer.encode(text);
    append_tokens(bos, type, result.tokens);
    append_tokens(ids, type, result.tokens);
    append_tokens(eos, type, result.tokens);
    result.lengths.push_back(static_cast<int64_t>(ids.size()) + 2);
  }
  return result;
}

}  // namespace

EncodePool::EncodePool(const Tokenizer& tokenizer, TokenType type, int64_t workers)
    : tokenizer_(tokenizer), type_(type) {
  for (int64_t i = 0; i < workers; ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

EncodePool::~EncodePool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    tasks_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

std::future<TokenChunk> EncodePool::submit(TextChunk chunk) {
  Task task([this, chunk = std::move(chunk)] { return encode(chunk, tokenizer_, type_); });
  std::future<TokenChunk> result = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return result;
}

void EncodePool::work() {
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

}  // namespace dsmoe::data
