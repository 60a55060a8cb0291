#pragma once

#include <string>

#include "data/documents.h"

namespace dsmoe::data {

/// The documents of one JSONL file; see read_documents(), which chooses this reader by file name.
/// Throws DataError naming file:line.
void read_jsonl(const std::string& path, const DocumentSink& sink);

}  // namespace dsmoe::data
