#include "trainer/strict_json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

/// serde_json's limit, so that the reference reader of safetensors takes the same files.
constexpr int kMaxDepth = 127;

constexpr size_t kMaxShown = 400;

/// Refuses what the library lets pass: duplicate keys and endless nesting.
class StrictKeys {
 public:
  explicit StrictKeys(const std::string& path) : path_(path) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    const size_t level = static_cast<size_t>(depth);
    const bool opens_object = event == json::parse_event_t::object_start;
    const bool opens = opens_object || event == json::parse_event_t::array_start;
    if (opens && depth >= kMaxDepth) reject_file(path_, "the JSON nests too deeply");
    if (opens_object) {
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

/// Text of the file stands in the middle; a zero byte in it would end the message.
std::string shown(std::string what) {
  if (what.size() > kMaxShown) {
    what = what.substr(0, kMaxShown / 2) + " ... " + what.substr(what.size() - kMaxShown / 2);
  }
  const auto is_control = [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; };
  std::replace_if(what.begin(), what.end(), is_control, '?');
  return what;
}

}  // namespace

void reject_file(const std::string& path, const std::string& what) {
  throw CheckpointError(path + ": " + shown(what) +
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
