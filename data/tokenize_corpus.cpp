#include "data/tokenize_corpus.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <future>
#include <span>
#include <utility>

#include "configs/errors.h"
#include "data/documents.h"
#include "data/encode_pool.h"
#include "data/token_file.h"
#include "data/token_file_writer.h"

namespace dsmoe::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kChunkBytes = int64_t{1} << 20;

void check(const TokenizeOptions& options) {
  if (token_file_prefix(options.input)) {
    throw DataError(options.input +
                    ": these are tokens already, a .bin/.idx pair\nhint: name the "
                    "text, JSONL file or directory that they were made of");
  }
  const fs::path folder = fs::path(options.output).parent_path();
  std::error_code missing;
  if (fs::is_directory(options.input, missing) &&
      fs::equivalent(options.input, folder.empty() ? fs::path(".") : folder, missing)) {
    throw DataError(options.output + ".bin would lie in the input directory " + options.input +
                    ", whose files are read as texts\nhint: name an output elsewhere");
  }
}

/// Documents in, chunks through the pool, tokens to the writer in the order of the documents.
class Pipeline {
 public:
  Pipeline(const TokenizeOptions& options, const Tokenizer& tokenizer,
           const TokenizeWatcher& watcher)
      : writer_(options.output, {token_type_for(tokenizer.vocab_size()), options.overwrite}),
        watcher_(watcher),
        chunks_limit_(2 * static_cast<size_t>(options.workers)),
        waiting_limit_(options.waiting_bytes),
        pool_(tokenizer, writer_.type(), options.workers) {
    progress_.bytes_to_read = bytes_of_documents(options.input);
  }

  void add(Document document) {
    const auto bytes = static_cast<int64_t>(document.text.size());
    if (!chunk_.texts.empty() && chunk_.text_bytes + bytes > kChunkBytes) submit();
    chunk_.texts.push_back(std::move(document.text));
    chunk_.text_bytes += bytes;
    chunk_.bytes_in_file += document.bytes_in_file;
  }

  TokenizeProgress finish() {
    if (!chunk_.texts.empty()) submit();
    while (!waiting_.empty()) write_next();
    writer_.finish();
    return progress_;
  }

 private:
  void submit() {
    while (waiting_.size() >= chunks_limit_ ||
           (!waiting_.empty() && waiting_bytes_ + chunk_.text_bytes > waiting_limit_)) {
      write_next();
    }
    waiting_bytes_ += chunk_.text_bytes;
    waiting_.push_back(pool_.submit(std::exchange(chunk_, {})));
  }

  void write_next() {
    const TokenChunk chunk = waiting_.front().get();
    waiting_.pop_front();
    waiting_bytes_ -= chunk.text_bytes;
    write(chunk);
    progress_.documents = writer_.num_documents();
    progress_.tokens = writer_.num_tokens();
    progress_.text_bytes += chunk.text_bytes;
    progress_.bytes_read += chunk.bytes_in_file;
    if (watcher_) watcher_(progress_);
  }

  void write(const TokenChunk& chunk) {
    std::span<const std::byte> rest(chunk.tokens);
    for (const int64_t length : chunk.lengths) {
      const auto bytes = static_cast<size_t>(length * size_of(writer_.type()));
      writer_.append_raw(rest.first(bytes));
      writer_.end_document();
      rest = rest.subspan(bytes);
    }
  }

  TokenFileWriter writer_;
  const TokenizeWatcher& watcher_;
  size_t chunks_limit_;
  int64_t waiting_limit_;
  TextChunk chunk_;
  std::deque<std::future<TokenChunk>> waiting_;
  int64_t waiting_bytes_ = 0;
  TokenizeProgress progress_;
  EncodePool pool_;
};

}  // namespace

std::string default_output(const std::string& input) {
  fs::path path = fs::path(input).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code missing;
  if (fs::is_directory(path, missing) || !path.has_extension()) return path.string() + ".tokens";
  return path.replace_extension().string();
}

TokenizeResult tokenize_corpus(const TokenizeOptions& options, const Tokenizer& tokenizer,
                               const TokenizeWatcher& watcher) {
  check(options);
  Pipeline pipeline(options, tokenizer, watcher);
  read_documents(options.input, [&](Document document) { pipeline.add(std::move(document)); });
  return {pipeline.finish(), token_type_for(tokenizer.vocab_size()), options.output + ".bin",
          options.output + ".idx"};
}

}  // namespace dsmoe::data
