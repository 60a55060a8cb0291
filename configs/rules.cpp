#include <algorithm>
#include <cctype>
#include <utility>

#include "configs/codec.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {

Rule<int64_t> at_least(int64_t low) {
  return {">= " + std::to_string(low), [low](const int64_t& value) { return value >= low; }};
}

Rule<int64_t> between(int64_t low, int64_t high) {
  return {std::to_string(low) + " to " + (high == kLargestCount ? "2^31" : std::to_string(high)),
          [low, high](const int64_t& value) { return value >= low && value <= high; }};
}

Rule<int64_t> count_from(int64_t low) { return between(low, kLargestCount); }

Rule<double> number_at_least(double low) {
  return {">= " + number_text(low), [low](const double& value) { return value >= low; }};
}

Rule<double> number_above(double low) {
  return {"> " + number_text(low), [low](const double& value) { return value > low; }};
}

Rule<double> number_between(double low, double high) {
  return {number_text(low) + " to " + number_text(high),
          [low, high](const double& value) { return value >= low && value <= high; }};
}

Rule<double> number_inside(double low, double high) {
  return {"above " + number_text(low) + " and below " + number_text(high),
          [low, high](const double& value) { return value > low && value < high; }};
}

Rule<std::string> not_empty() {
  return {"not empty", [](const std::string& value) { return !value.empty(); }};
}

Rule<std::string> one_of(std::vector<std::string> words) {
  const std::string range = joined_words(words);
  return {range, [words = std::move(words)](const std::string& value) {
            return std::find(words.begin(), words.end(), value) != words.end();
          }};
}

Rule<std::string> simple_name() {
  const auto fits = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  };
  return {"letters, digits, _ and -", [fits](const std::string& value) {
            return !value.empty() && std::all_of(value.begin(), value.end(), fits);
          }};
}

std::string joined_words(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += (out.empty() ? "" : " | ") + word;
  }
  return out;
}

}  // namespace dsmoe::config
