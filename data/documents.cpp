#include "data/documents.h"

#include <filesystem>
#include <utility>

#include "configs/errors.h"
#include "data/input_files.h"
#include "data/jsonl_reader.h"

namespace dsmoe::data {
namespace fs = std::filesystem;
namespace {

void read_file(const fs::path& path, const DocumentSink& sink) {
  if (path.extension() == ".jsonl") {
    read_jsonl(path.string(), sink);
  } else {
    std::string bytes = read_bytes(path);
    const auto size = static_cast<int64_t>(bytes.size());
    sink({std::move(bytes), "", size});
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
