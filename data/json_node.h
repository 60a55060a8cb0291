#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {

/// A value of a JSON file that knows where it stands, for messages such as
/// `tok/tokenizer.json: model.dropout (0.1) ...`. Every getter throws DataError that way.
class JsonNode {
 public:
  using Json = nlohmann::json;

  JsonNode(const Json& value, std::string file, std::string key = "")
      : value_(value), file_(std::move(file)), key_(std::move(key)) {}

  JsonNode(Json&&, std::string, std::string = "") = delete;  ///< the value must outlive this

  [[nodiscard]] const Json& value() const { return value_; }
  /// `file: key`.
  [[nodiscard]] std::string place() const { return file_ + (key_.empty() ? "" : ": " + key_); }
  [[nodiscard]] bool has(const std::string& name) const {
    return value_.is_object() && value_.contains(name) && !value_[name].is_null();
  }

  /// The member `name`, which must be there.
  [[nodiscard]] JsonNode at(const std::string& name) const {
    if (!value_.is_object() || !value_.contains(name)) {
      fail("has no `" + name + "`", "take the file as the tokenizers library wrote it");
    }
    return {value_[name], file_, key_.empty() ? name : key_ + "." + name};
  }
  [[nodiscard]] JsonNode at(size_t i) const {
    return {value_[i], file_, key_ + "[" + std::to_string(i) + "]"};
  }

  [[nodiscard]] const std::string& string() const {
    if (!value_.is_string()) wrong_type("a string");
    return value_.get_ref<const std::string&>();
  }
  [[nodiscard]] bool boolean() const {
    if (!value_.is_boolean()) wrong_type("true or false");
    return value_.get<bool>();
  }
  [[nodiscard]] bool boolean_or(const std::string& name, bool fallback) const {
    return has(name) ? at(name).boolean() : fallback;
  }
  [[nodiscard]] uint64_t number() const {
    if (!value_.is_number_unsigned()) wrong_type("a whole number from 0");
    return value_.get<uint64_t>();
  }
  [[nodiscard]] size_t array_size() const {
    if (!value_.is_array()) wrong_type("an array");
    return value_.size();
  }

  /// Throws if there is a member of another name: one that is not read would be ignored silently.
  void only(std::initializer_list<const char*> names) const {
    if (!value_.is_object()) wrong_type("an object");
    for (const auto& [name, member] : value_.items()) {
      bool known = false;
      for (const char* candidate : names) known = known || name == candidate;
      if (!known) at(name).unsupported("is not a known key");
    }
  }

  /// The value is legal JSON but means something that this reader does not do.
  [[noreturn]] void unsupported(const std::string& why) const {
    fail("(" + shortened() + ") " + why,
         "supported is byte-level BPE without a normalizer, as in DeepSeek, GPT-2 and Llama 3");
  }
  [[noreturn]] void fail(const std::string& problem, const std::string& hint) const {
    throw DataError(place() + " " + problem + "\nhint: " + hint);
  }

 private:
  [[noreturn]] void wrong_type(const std::string& wanted) const {
    fail("(" + shortened() + ") is not " + wanted,
         "take the file as the tokenizers library wrote it");
  }
  [[nodiscard]] std::string shortened() const {
    const std::string text = value_.dump(-1, ' ', /*ensure_ascii=*/true);
    return text.size() <= 60 ? text : text.substr(0, 60) + "...";
  }

  const Json& value_;
  std::string file_;
  std::string key_;
};

}  // namespace dsmoe::data
