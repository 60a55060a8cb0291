#include "trainer/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "configs/errors.h"
#include "trainer/file_handle.h"

namespace dsmoe::train {
namespace {

/// What the user can do about `error`; empty when nothing.
std::string hint_for(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return "check who may write there, or choose another place, for a run with run.directory=DIR";
    case ENOTDIR:
    case EEXIST:
    case EISDIR:
      return "a file or directory of that name is in the way: remove it or choose another name";
    case ENOENT:
      return "check the path";
    case ENAMETOOLONG:
      return "choose a shorter name";
    default:
      return "";
  }
}

}  // namespace

void throw_file_error(std::string_view operation, const std::string& path, int error) {
  const std::string message =
      "cannot " + std::string(operation) + " " + path + ": " + std::strerror(error);
  const std::string hint = hint_for(error);
  if (!hint.empty()) throw UserError(message + "\nhint: " + hint);
  throw IoError(message);
}

std::string directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

void sync_directory(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_file_error("open", path, errno);
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (error != 0) throw_file_error("sync", path, error);
}

void make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw_file_error("create", path, error.value());
}

std::string read_file(const std::string& path) {
  const FileHandle file = FileHandle::open_for_reading(path);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, text.data(), text.size());
  return text;
}

void write_file_atomically(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  try {
    FileHandle file = FileHandle::create(temporary);
    file.write_at(0, text.data(), text.size());
    file.sync();
    if (std::rename(temporary.c_str(), path.c_str()) != 0) throw_file_error("write", path, errno);
  } catch (const std::exception&) {
    std::remove(temporary.c_str());
    throw;
  }
  sync_directory(directory_of(path));
}

}  // namespace dsmoe::train
