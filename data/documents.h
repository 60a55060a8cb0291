#pragma once

#include <functional>
#include <string>

namespace dsmoe::data {

/// One text of a corpus, exactly as it stands in its file.
struct Document {
  std::string text;
  std::string domain;  ///< JSONL only; empty: not given
};

using DocumentSink = std::function<void(Document)>;

/// Hands every document at `path` to `sink`, in order:
/// - a file named *.jsonl: one object a line, `text` (string) and optionally `domain` (string);
///   other fields are not read, blank lines are skipped;
/// - any other file: one document, its bytes as they are, UTF-8 or not;
/// - a directory: each of its regular files, by name, hidden ones and sub-directories left out.
/// Throws DataError, naming the file (and for JSONL the line), on a missing or unreadable file,
/// invalid JSON, invalid UTF-8 within JSON, a missing or wrong `text`, and when no text was found.
void read_documents(const std::string& path, const DocumentSink& sink);

}  // namespace dsmoe::data
