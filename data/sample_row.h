#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "configs/data_config.h"
#include "data/conversation.h"

namespace dsmoe::data {

/// What a row teaches, by the fields it has (other names: source.columns, source.tags):
///
///     {"messages": [{"role": "system|user|assistant", "content": "...", "weight": 1}, ...]}
///     {"conversations": [{"from": "system|human|gpt", "value": "..."}, ...]}       sharegpt
///     {"instruction": "...", "input": "...", "output": "...", "history": [["q", "a"], ...]} alpaca
///     {"segments": [{"text": "...", "weight": 0}, ...]}     rendered by scripts/render-chat
///     {"text": "..."}                                        a document
///
/// `system` may stand beside the first three, `domain` beside all. A message with `mask: 1` has
/// weight 0. Throws DataError naming `place` on any other row, an unknown role, a conversation that
/// is empty or has nothing to learn.
[[nodiscard]] SampleRow parse_sample(const nlohmann::json& row, const config::DataSource& source,
                                     const std::string& place);

}  // namespace dsmoe::data
