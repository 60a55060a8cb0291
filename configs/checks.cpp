#include "configs/checks.h"

namespace dsmoe::config {

std::string shown(const std::string& key, int64_t value) {
  return key + " (" + std::to_string(value) + ")";
}

void require(bool holds, const std::string& message, ErrorList& errors) {
  if (!holds) {
    errors.add(message);
  }
}

void require_divisible(const std::string& key, int64_t value, const std::string& by,
                       int64_t divisor, ErrorList& errors) {
  require(value % divisor == 0, shown(key, value) + " must be divisible by " + shown(by, divisor),
          errors);
}

void require_at_most(const std::string& key, int64_t value, const std::string& limit_key,
                     int64_t limit, ErrorList& errors) {
  require(value <= limit, shown(key, value) + " must not be larger than " + shown(limit_key, limit),
          errors);
}

}  // namespace dsmoe::config
