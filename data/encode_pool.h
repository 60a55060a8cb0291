#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/token_type.h"
#include "data/tokenizer.h"

namespace dsmoe::data {

/// Some documents that follow each other.
struct TextChunk {
  std::vector<std::string> texts;
  int64_t text_bytes = 0;
  int64_t bytes_in_file = 0;
};

/// Their tokens, BOS text EOS each, as a .bin holds them.
struct TokenChunk {
  std::vector<std::byte> tokens;
  std::vector<int64_t> lengths;  ///< tokens of each document
  int64_t text_bytes = 0;
  int64_t bytes_in_file = 0;
};

/// Threads that tokenise chunks. What the tokenizer throws is thrown by the chunk's future.
/// Destruction drops the chunks that nobody has begun and waits for the others.
class EncodePool {
 public:
  /// The tokenizer outlives the pool and is used by all threads at once.
  EncodePool(const Tokenizer& tokenizer, TokenType type, int64_t workers);
  ~EncodePool();
  EncodePool(const EncodePool&) = delete;
  EncodePool& operator=(const EncodePool&) = delete;

  [[nodiscard]] std::future<TokenChunk> submit(TextChunk chunk);

 private:
  using Task = std::packaged_task<TokenChunk()>;
  void work();

  const Tokenizer& tokenizer_;
  TokenType type_;
  std::mutex mutex_;  ///< over the two below
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

}  // namespace dsmoe::data
