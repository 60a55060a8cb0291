#include "data/jsonl_reader.h"

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

using Json = nlohmann::json;

/// Messages stay ASCII whatever the file holds: other bytes are written \xNN.
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

Json parse(const std::string& line, const std::string& place) {
  try {
    return Json::parse(line);
  } catch (const Json::parse_error& error) {
    // The library's text starts with its own code and a line number, which is always 1 here.
    std::string reason = error.what();
    if (const size_t start = reason.find("column"); start != std::string::npos) {
      reason.erase(0, start);
    }
    throw DataError(place + ": not valid JSON: " + escaped(reason) +
                    "\nhint: each line is one object in UTF-8, such as {\"text\": \"...\"}");
  }
}

std::string string_field(Json& object, const char* key, const std::string& place) {
  Json& value = object[key];
  if (!value.is_string()) {
    throw DataError(place + ": `" + key + "` is " + value.type_name() +
                    ", not a string\nhint: write {\"" + key + "\": \"...\"}");
  }
  return std::move(value.get_ref<std::string&>());
}

Document to_document(Json object, const std::string& place) {
  if (!object.is_object() || !object.contains("text")) {
    throw DataError(place + ": no `text` field in this " + object.type_name() +
                    "\nhint: each line is one object such as {\"text\": \"...\"}");
  }
  Document document;
  document.text = string_field(object, "text", place);
  if (object.contains("domain")) {
    document.domain = string_field(object, "domain", place);
  }
  return document;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

}  // namespace

void read_jsonl(const std::string& path, const DocumentSink& sink) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (!is_blank(line)) {
      const std::string place = path + ":" + std::to_string(number);
      Document document = to_document(parse(line, place), place);
      document.bytes_in_file = static_cast<int64_t>(line.size()) + 1;
      sink(std::move(document));
    }
  }
  if (file.bad() || !file.eof()) {
    throw DataError(path + ": cannot be read\nhint: check its permissions");
  }
}

}  // namespace dsmoe::data
