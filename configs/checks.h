#pragma once

#include <cstdint>
#include <string>

#include "configs/error_list.h"
#include "configs/model_config.h"

namespace dsmoe::config {

/// `key (value)`, as every message of a check names a number.
std::string shown(const std::string& key, int64_t value);

/// Adds the message where the condition does not hold.
void require(bool holds, const std::string& message, ErrorList& errors);

/// `key (63) must be divisible by by (8)`.
void require_divisible(const std::string& key, int64_t value, const std::string& by,
                       int64_t divisor, ErrorList& errors);

/// `key (5) must not be larger than limit_key (4)`.
void require_at_most(const std::string& key, int64_t value, const std::string& limit_key,
                     int64_t limit, ErrorList& errors);

/// The complaints of check_model(), collected instead of thrown.
void collect_model_errors(const ModelConfig& model, ErrorList& errors);

}  // namespace dsmoe::config
