#include "configs/field.h"

#include <set>

#include "configs/fields.h"
#include "configs/nearest.h"

namespace dsmoe::config {
namespace {

/// The full name of a key of that name in any section, or empty.
std::string elsewhere(const std::string& key) {
  for (const std::string& full : all_keys()) {
    const size_t dot = full.rfind('.');
    if (full.substr(dot + 1) == key) {
      return full;
    }
  }
  return {};
}

}  // namespace

std::string dotted(const std::string& prefix, const std::string& key) {
  return prefix.empty() ? key : prefix + "." + key;
}

bool expect_map(const Node& node, const std::string& key, ErrorList& errors) {
  if (node.is_map() || node.is_null()) {
    return true;
  }
  errors.add(node.where, key, "must be a map of keys and values, not " + describe(node));
  return false;
}

void report_duplicates(const Node& map, const std::string& prefix, ErrorList& errors) {
  std::set<std::string> seen;
  for (size_t i = 0; i < map.keys.size(); ++i) {
    if (!seen.insert(map.keys[i]).second) {
      errors.add(map.items[i].where, dotted(prefix, map.keys[i]),
                 "duplicate key, first given at " + map.find(map.keys[i])->where);
    }
  }
}

void report_unknown(const Node& value, const std::string& key, const std::string& prefix,
                    const std::vector<std::string>& known, ErrorList& errors) {
  std::string close = nearest(key, known);
  const std::string other = elsewhere(key);
  if (!close.empty()) {
    close = dotted(prefix, close);
  }
  const std::string& suggestion = other.empty() ? close : other;
  errors.add(value.where, dotted(prefix, key),
             suggestion.empty() ? "unknown key; known here: " + joined_words(known)
                                : "unknown key, did you mean " + suggestion + "?");
}

}  // namespace dsmoe::config
