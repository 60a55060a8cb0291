#include "trainer/strict_json.h"

#include <set>
#include <vector>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

/// What is read here is three levels deep; unknown keys may hold a little more.
constexpr int kMaxDepth = 16;

/// Refuses what the library lets pass: duplicate keys and endless nesting.
class StrictKeys {
 public:
  explicit StrictKeys(const std::string& path) : path_(path) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) reject_file(path_, "the JSON nests too deeply");
    const size_t level = static_cast<size_t>(depth);
    if (event == json::parse_event_t::object_start) {
      keys_.resize(level + 2);
      keys_[level + 1].clear();
    }
    if (event == json::parse_event_t::key) add(level, parsed.get<std::string>());
    return true;
  }

 private:
  void add(size_t level, const std::string& key) {
    if (!keys_[level].insert(key).second) reject_file(path_, "has '" + key + "' twice");
  }

  const std::string& path_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

void reject_file(const std::string& path, const std::string& what) {
  throw CheckpointError(path + ": " + what +
                        "\nhint: the file is damaged or not what its name says; copy it again");
}

json parse_strict_json(std::string_view text, const std::string& path) {
  // The library skips a byte order mark and stops at a zero byte; JSON allows neither.
  if (text.substr(0, 3) == "\xEF\xBB\xBF" || text.find('\0') != std::string_view::npos) {
    reject_file(path, "is not JSON");
  }
  try {
    const json parsed = json::parse(text.begin(), text.end(), StrictKeys(path));
    if (!parsed.is_object()) reject_file(path, "is not a JSON object");
    return parsed;
  } catch (const json::exception& error) {
    reject_file(path, std::string("is not JSON: ") + error.what());
  }
}

}  // namespace dsmoe::train
