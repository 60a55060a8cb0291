#include "data/json_row.h"

#include <nlohmann/json.hpp>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

/// Bytes above ASCII are written \xNN.
std::string escaped(const std::string& text) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string result;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x80) {
      result.push_back(character);
    } else {
      result.append({'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  return result;
}

}  // namespace

nlohmann::json parse_json_row(const std::string& line, const std::string& place) {
  try {
    return nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    // The library's text starts with its own code and a line number, which is always 1 here.
    std::string reason = error.what();
    if (const size_t start = reason.find("column"); start != std::string::npos) {
      reason.erase(0, start);
    }
    throw DataError(place + ": not valid JSON: " + escaped(reason) +
                    "\nhint: each line is one object in UTF-8, such as {\"text\": \"...\"}");
  }
}

}  // namespace dsmoe::data
