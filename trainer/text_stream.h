#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/stream_decoder.h"

namespace dsmoe::train {

/// New tokens as text that can be shown at once: whole characters only, and nothing that may turn
/// out to be the beginning of a stop string.
class TextStream {
 public:
  TextStream(const data::Tokenizer& tokenizer, std::vector<std::string> stops);

  /// The text that is certain now.
  [[nodiscard]] std::string push(int64_t id);
  /// What was held back, once no token comes any more.
  [[nodiscard]] std::string finish();
  /// A stop string stood in the text; it and what follows are left out.
  [[nodiscard]] bool stopped() const { return stopped_; }
  /// All that push() and finish() returned.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string release(const std::string& decoded, bool last);
  [[nodiscard]] size_t held_back() const;

  data::StreamDecoder decoder_;
  std::vector<std::string> stops_;
  std::string waiting_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace dsmoe::train
