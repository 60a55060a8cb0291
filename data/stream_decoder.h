#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace dsmoe::data {

/// Decodes ids one at a time to text that can be shown at once: bytes are held back until their
/// character is complete, and become U+FFFD when it no longer can be. All that is returned, laid
/// end to end, is to_utf8() of all bytes.
class StreamDecoder {
 public:
  /// The tokenizer must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// Valid UTF-8, often empty.
  [[nodiscard]] std::string push(int64_t id);
  /// What was held back, as U+FFFD; the decoder is as new then.
  [[nodiscard]] std::string flush();

 private:
  const Tokenizer& tokenizer_;
  std::string held_;  ///< the start of one character, at most
};

}  // namespace dsmoe::data
