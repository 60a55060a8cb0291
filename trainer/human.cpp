#include "trainer/human.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

/// Longest fixed-point double: 309 digits before the point.
using Buffer = std::array<char, 512>;

/// Divides by `base` until what would be printed with one decimal is below it.
size_t scale(double& value, double base, size_t num_units) {
  size_t unit = 0;
  while (unit + 1 < num_units && std::round(std::fabs(value) * 10) >= base * 10) {
    value /= base;
    ++unit;
  }
  return unit;
}

std::string two_digits(int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

}  // namespace

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return "n/a";
  Buffer text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

std::string scientific(double value) {
  if (!std::isfinite(value)) return "n/a";
  Buffer text{};
  std::snprintf(text.data(), text.size(), "%.1e", value);
  return text.data();
}

std::string human_count(double value) {
  if (!std::isfinite(value)) return "n/a";
  constexpr std::array<const char*, 5> kUnits = {"", "k", "M", "B", "T"};
  if (std::fabs(value) < 999.5) return fixed(value, /*decimals=*/0);
  value /= 1000;
  const size_t unit = 1 + scale(value, /*base=*/1000, kUnits.size() - 1);
  return fixed(value, /*decimals=*/1) + kUnits[unit];
}

std::string human_bytes(double bytes) {
  if (!std::isfinite(bytes)) return "n/a";
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  const size_t unit = scale(bytes, /*base=*/1024, kUnits.size());
  return fixed(bytes, unit == 0 ? 0 : 1) + " " + kUnits[unit];
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds)) return "n/a";
  if (seconds < 9.95) return fixed(seconds, /*decimals=*/1) + "s";
  const int64_t whole = std::llround(seconds);
  const int64_t minutes = whole / 60;
  const int64_t hours = minutes / 60;
  if (minutes == 0) return std::to_string(whole) + "s";
  if (hours == 0) return std::to_string(minutes) + "m" + two_digits(whole % 60) + "s";
  if (hours < 24) return std::to_string(hours) + "h" + two_digits(minutes % 60) + "m";
  return std::to_string(hours / 24) + "d" + two_digits(hours % 24) + "h";
}

int64_t parse_bytes(const std::string& text, const std::string& option) {
  static const std::map<std::string, double> kUnits{
      {"", 1},      {"B", 1},        {"KB", 1e3},        {"MB", 1e6},          {"GB", 1e9},
      {"TB", 1e12}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}};
  size_t digits = 0;
  double number = 0;
  try {
    number = std::stod(text, &digits);
  } catch (const std::exception&) {
    digits = 0;
  }
  const auto unit = kUnits.find(text.substr(digits));
  if (digits == 0 || unit == kUnits.end() || !(number * unit->second >= 1)) {
    throw ConfigError(option + " (" + text + ") is no size\nhint: such as 5GB, 500MB or 2GiB");
  }
  return static_cast<int64_t>(number * unit->second);
}

std::string with_separators(int64_t value) {
  std::string text = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t place = text.size(); place > first + 3; place -= 3) text.insert(place - 3, 1, ',');
  return text;
}

std::string pad_left(const std::string& text, size_t width) {
  return text.size() >= width ? text : std::string(width - text.size(), ' ') + text;
}

std::string pad_right(const std::string& text, size_t width) {
  return text.size() >= width ? text : text + std::string(width - text.size(), ' ');
}

}  // namespace dsmoe::train
