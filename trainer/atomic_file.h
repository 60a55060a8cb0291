#pragma once

#include <string>
#include <string_view>

namespace dsmoe::train {

/// Throws for a failed system call on `path`: UserError with a hint where the user can mend it (no
/// permission, read-only, not a directory), else IoError. `operation` reads as "cannot OPERATION".
[[noreturn]] void throw_file_error(std::string_view operation, const std::string& path, int error);

/// Replaces `path` by `text`, wholly or not at all: temporary file beside it, fsync, rename, fsync
/// of the directory. Throws as throw_file_error; the old file then stands as it was.
void write_file_atomically(const std::string& path, std::string_view text);

/// The bytes of a file. Throws CheckpointError when it cannot be opened, IoError when it cannot be
/// read.
[[nodiscard]] std::string read_file(const std::string& path);

/// Creates `path` and its parents. Throws as throw_file_error.
void make_directories(const std::string& path);

/// Makes renames and new names in `path` durable. Throws as throw_file_error.
void sync_directory(const std::string& path);

/// The directory part of `path`, "." if it has none.
[[nodiscard]] std::string directory_of(const std::string& path);

}  // namespace dsmoe::train
