#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace dsmoe::data {

/// Calls `visit` with the file at `path`, or with each regular file of the directory there, by
/// name, hidden ones and sub-directories left out. Throws DataError where nothing can be read.
void for_each_file(const std::string& path,
                   const std::function<void(const std::filesystem::path&)>& visit);

/// A file's bytes. Throws DataError.
[[nodiscard]] std::string read_bytes(const std::filesystem::path& path);

/// Calls `visit` with each line that is not blank, its number from 1 and its bytes with the end.
/// Throws DataError on a file that cannot be read.
void for_each_line(
    const std::string& path,
    const std::function<void(const std::string& line, int64_t number, int64_t bytes)>& visit);

}  // namespace dsmoe::data
