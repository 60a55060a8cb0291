#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dsmoe::train {

/// Parses an object, more strictly than the library: no duplicate keys, no byte order mark, no zero
/// bytes, at most 127 levels. `path` is named in messages. Throws CheckpointError.
[[nodiscard]] nlohmann::json parse_strict_json(std::string_view text, const std::string& path);

/// Throws CheckpointError "PATH: WHAT" with the hint that the file is damaged. `what` may hold text
/// of the file: it is cut to a few lines, without control characters.
[[noreturn]] void reject_file(const std::string& path, const std::string& what);

}  // namespace dsmoe::train
