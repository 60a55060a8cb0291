#include "data/input_files.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "configs/errors.h"

namespace dsmoe::data {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> files_of(const fs::path& path) {
  if (!fs::is_directory(path)) {
    return {path};
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && entry.path().filename().string().front() != '.') {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void require_something_to_read(const std::string& path) {
  if (!fs::exists(path)) {
    throw DataError(path + ": no such file or directory (looked from " +
                    fs::current_path().string() +
                    ")\nhint: data paths are relative to the working directory; scripts/corpus "
                    "makes the corpora of the recipes");
  }
  if (!fs::is_directory(path) && !fs::is_regular_file(path)) {
    throw DataError(path + ": neither a file nor a directory\nhint: give a text or .jsonl file");
  }
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

}  // namespace

void for_each_file(const std::string& path, const std::function<void(const fs::path&)>& visit) {
  try {
    require_something_to_read(path);
    for (const fs::path& file : files_of(path)) {
      visit(file);
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(path + ": " + error.code().message() + "\nhint: check its permissions");
  }
}

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(static_cast<size_t>(fs::file_size(path)), '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw DataError(path.string() + ": cannot be read as " + std::to_string(bytes.size()) +
                    " bytes\nhint: check its permissions, and that nothing is writing to it");
  }
  return bytes;
}

void for_each_line(const std::string& path,
                   const std::function<void(const std::string&, int64_t, int64_t)>& visit) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (!is_blank(line)) visit(line, number, static_cast<int64_t>(line.size()) + 1);
  }
  if (file.bad() || !file.eof()) {
    throw DataError(path + ": cannot be read\nhint: check its permissions");
  }
}

}  // namespace dsmoe::data
