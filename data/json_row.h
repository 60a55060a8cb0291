#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dsmoe::data {

/// The value on a line of a JSONL file. Throws DataError that names `place`; its text is ASCII
/// whatever the line holds.
[[nodiscard]] nlohmann::json parse_json_row(const std::string& line, const std::string& place);

}  // namespace dsmoe::data
