#include "trainer/table.h"

#include <algorithm>

#include "trainer/human.h"

namespace dsmoe::train {
namespace {

constexpr size_t kIndent = 2;
constexpr size_t kGap = 2;

/// `value` with the lines after its first moved right by `width`.
std::string hanging(const std::string& value, size_t width) {
  std::string result;
  for (const char c : value) {
    result += c;
    if (c == '\n') result.append(width, ' ');
  }
  return result;
}

}  // namespace

void Table::section(const std::string& title) { sections_.push_back({title, {}}); }

void Table::row(const std::string& key, const std::string& value) {
  if (sections_.empty()) section("");
  sections_.back().rows.emplace_back(key, value);
}

std::string Table::text() const {
  size_t width = 0;
  for (const Section& part : sections_) {
    for (const auto& [key, value] : part.rows) width = std::max(width, key.size() + kGap);
  }
  std::string result;
  for (const Section& part : sections_) {
    if (!result.empty()) result += "\n";
    if (!part.title.empty()) result += part.title + "\n";
    for (const auto& [key, value] : part.rows) {
      result += std::string(kIndent, ' ') + pad_right(key, width) + hanging(value, kIndent + width);
      result += "\n";
    }
  }
  if (!result.empty()) result.pop_back();
  return result;
}

}  // namespace dsmoe::train
