#pragma once

#include "data/json_node.h"
#include "data/pretokenizer.h"

namespace dsmoe::data {

/// Reads `pre_tokenizer`: Split, Digits and ByteLevel, alone or in a Sequence; the last one, and no
/// other, is ByteLevel. Throws DataError naming the key of what is not supported.
[[nodiscard]] PretokenizerSpec read_pretokenizer(const JsonNode& node);

}  // namespace dsmoe::data
