#include "trainer/text_stream.h"

#include <algorithm>

namespace dsmoe::train {

TextStream::TextStream(const data::Tokenizer& tokenizer, std::vector<std::string> stops)
    : decoder_(tokenizer), stops_(std::move(stops)) {}

std::string TextStream::push(int64_t id) { return release(decoder_.push(id), /*last=*/false); }

std::string TextStream::finish() { return release(decoder_.flush(), /*last=*/true); }

std::string TextStream::release(const std::string& decoded, bool last) {
  if (stopped_) return "";
  waiting_ += decoded;
  size_t end = waiting_.size();
  for (const std::string& stop : stops_) {
    const size_t at = waiting_.find(stop);
    if (at == std::string::npos) continue;
    stopped_ = true;
    end = std::min(end, at);
  }
  if (!stopped_ && !last) end -= held_back();
  const std::string released = waiting_.substr(0, end);
  waiting_.erase(0, end);
  text_ += released;
  return released;
}

/// Length of the longest end of what waits that begins a stop string.
size_t TextStream::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, waiting_.size()); n > longest; --n) {
      if (waiting_.compare(waiting_.size() - n, n, stop, 0, n) == 0) longest = n;
    }
  }
  return longest;
}

}  // namespace dsmoe::train
