#include "data/jsonl_reader.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "configs/errors.h"
#include "data/input_files.h"
#include "data/json_row.h"

namespace dsmoe::data {
namespace {

using Json = nlohmann::json;

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

}  // namespace

void read_jsonl(const std::string& path, const DocumentSink& sink) {
  for_each_line(path, [&](const std::string& line, int64_t number, int64_t bytes) {
    const std::string place = path + ":" + std::to_string(number);
    Document document = to_document(parse_json_row(line, place), place);
    document.bytes_in_file = bytes;
    sink(std::move(document));
  });
}

}  // namespace dsmoe::data
