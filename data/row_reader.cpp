#include "data/row_reader.h"

#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "data/input_files.h"
#include "data/json_row.h"

namespace dsmoe::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Reader {
  const std::function<bool(const Json&, const std::string&)>& visit;
  const std::function<void(const std::string&)>& bad;
  bool stopped = false;

  void row(const Json& value, const std::string& place) {
    if (!stopped) stopped = !visit(value, place);
  }

  void lines(const fs::path& path) {
    for_each_line(path.string(), [&](const std::string& line, int64_t number, int64_t) {
      if (stopped) return;
      const std::string place = path.string() + ":" + std::to_string(number);
      Json value;
      try {
        value = parse_json_row(line, place);
      } catch (const DataError& error) {
        bad(error.what());
        return;
      }
      row(value, place);
    });
  }

  void list(const fs::path& path, const std::string& text) {
    const Json rows = parse_json_row(text, path.string());
    for (size_t i = 0; i < rows.size(); ++i) {
      row(rows[i], path.string() + "[" + std::to_string(i) + "]");
    }
  }

  void file(const fs::path& path) {
    if (stopped) return;
    if (path.extension() == ".jsonl") return lines(path);
    const std::string text = read_bytes(path);
    if (path.extension() != ".json") return row(Json{{"text", text}}, path.string());
    const size_t first = text.find_first_not_of(" \t\r\n");
    if (first != std::string::npos && text[first] == '[') return list(path, text);
    lines(path);
  }
};

}  // namespace

void read_rows(const std::string& path,
               const std::function<bool(const Json& row, const std::string& place)>& visit,
               const std::function<void(const std::string& message)>& bad) {
  Reader reader{visit, bad};
  for_each_file(path, [&](const fs::path& file) { reader.file(file); });
}

}  // namespace dsmoe::data
