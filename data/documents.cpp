#include "data/documents.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "configs/errors.h"
#include "data/jsonl_reader.h"

namespace dsmoe::data {
namespace fs = std::filesystem;
namespace {

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(static_cast<size_t>(fs::file_size(path)), '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw DataError(path.string() + ": cannot be read as " + std::to_string(bytes.size()) +
                    " bytes\nhint: check its permissions, and that nothing is writing to it");
  }
  return bytes;
}

void read_file(const fs::path& path, const DocumentSink& sink) {
  if (path.extension() == ".jsonl") {
    read_jsonl(path.string(), sink);
  } else {
    std::string bytes = read_bytes(path);
    const auto size = static_cast<int64_t>(bytes.size());
    sink({std::move(bytes), "", size});
  }
}

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

/// Calls `visit` with each file at `path`.
template <typename Visit>
void for_each_file(const std::string& path, const Visit& visit) {
  try {
    require_something_to_read(path);
    for (const fs::path& file : files_of(path)) {
      visit(file);
    }
  } catch (const fs::filesystem_error& error) {
    throw DataError(path + ": " + error.code().message() + "\nhint: check its permissions");
  }
}

}  // namespace

int64_t bytes_of_documents(const std::string& path) {
  int64_t bytes = 0;
  for_each_file(path,
                [&](const fs::path& file) { bytes += static_cast<int64_t>(fs::file_size(file)); });
  return bytes;
}

void read_documents(const std::string& path, const DocumentSink& sink) {
  size_t documents = 0;
  size_t bytes = 0;
  for_each_file(path, [&](const fs::path& file) {
    read_file(file, [&](Document document) {
      documents += 1;
      bytes += document.text.size();
      sink(std::move(document));
    });
  });
  if (bytes == 0) {
    throw DataError(path + ": no text in it (" + std::to_string(documents) +
                    " documents, 0 bytes)\nhint: give a file with text, or JSONL whose `text` "
                    "fields are not empty");
  }
}

}  // namespace dsmoe::data
