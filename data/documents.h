#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace dsmoe::data {

/// One text of a corpus, exactly as it stands in its file.
struct Document {
  std::string text;
  std::string domain;         ///< JSONL only; empty: not given
  int64_t bytes_in_file = 0;  ///< its line or file, for progress; blank lines count nowhere
};

using DocumentSink = std::function<void(Document)>;

/// Hands every document at `path` to `sink`, in order:
/// - a file named *.jsonl: one object a line, `text` (string) and optionally `domain` (string);
///   other fields are not read, blank lines are skipped;
/// - any other file: one document, its bytes as they are, UTF-8 or not;
/// - a directory: each of its regular files, by name, hidden ones and sub-directories left out.
/// Throws DataError, naming the file (and for JSONL the line), on a missing or unreadable file,
/// invalid JSON, invalid UTF-8 within JSON, a missing or wrong `text`, and when no text was found.
/// One document is in memory at a time. What `sink` throws passes through.
void read_documents(const std::string& path, const DocumentSink& sink);

/// Bytes of the files that read_documents() would read. Throws DataError as it does.
[[nodiscard]] int64_t bytes_of_documents(const std::string& path);

}  // namespace dsmoe::data
