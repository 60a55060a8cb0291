#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dsmoe::config {

enum class Packing { kStream, kWhole };
enum class Overlong { kStop, kCut, kDrop };
enum class BadRows { kStop, kSkip };
enum class ChatTemplate { kAuto, kDeepseekV2 };

/// Names of a row's fields where they are not the usual ones; empty: the usual one.
struct ColumnNames {
  std::string messages;
  std::string instruction;
  std::string input;
  std::string output;
  std::string system;
  std::string history;
  std::string text;

  bool operator==(const ColumnNames&) const = default;
};

/// Names within a message where they are not the usual ones; empty: the usual ones.
struct TagNames {
  std::string role;
  std::string content;
  std::string user;
  std::string assistant;
  std::string system;

  bool operator==(const TagNames&) const = default;
};

/// One named source of documents or conversations.
struct DataSource {
  std::string path;
  double weight = 1.0;
  std::string name;
  ColumnNames columns{};
  TagNames tags{};

  bool operator==(const DataSource&) const = default;
};

/// A part of the run with a mixture of its own.
struct DataStage {
  int64_t tokens = 0;                                   ///< 0: to the end of the run
  std::vector<std::pair<std::string, double>> weights;  ///< by source name; others are not read

  bool operator==(const DataStage&) const = default;
};

struct DataConfig {
  std::string tokenizer = "byte";
  int64_t sequence_length = 256;
  Packing packing = Packing::kStream;
  bool document_mask = false;  ///< attention and balance losses stay within a document
  ChatTemplate chat_template = ChatTemplate::kAuto;
  Overlong overlong = Overlong::kStop;
  BadRows bad_rows = BadRows::kStop;
  double held_out = 0.0;  ///< share of each training source that is evaluated instead
  std::vector<DataSource> train;
  std::vector<DataStage> stages;  ///< none: the weights of `train` all along
  std::vector<DataSource> eval;

  bool operator==(const DataConfig&) const = default;
};

}  // namespace dsmoe::config
