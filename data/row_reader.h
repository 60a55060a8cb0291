#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dsmoe::data {

/// Calls `visit` with each row at `path` and its place (`file:line`, `file[index]`): the lines of
/// a .jsonl, the items of a .json that is a list (its lines where it is none), any other file as
/// {"text": ...}; of a folder each file's. A row that is no JSON goes to `bad` with the message of
/// its DataError; a list that is none is thrown. `visit` returns whether to go on.
void read_rows(
    const std::string& path,
    const std::function<bool(const nlohmann::json& row, const std::string& place)>& visit,
    const std::function<void(const std::string& message)>& bad);

}  // namespace dsmoe::data
