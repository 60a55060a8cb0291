#pragma once

#include <initializer_list>
#include <string>

#include "configs/errors.h"
#include "tests/support/catch.h"

/// The message of the ConfigError that a call throws; empty where it throws none.
template <class Call>
std::string config_error(const Call& call) {
  try {
    call();
  } catch (const dsmoe::ConfigError& error) {
    return error.what();
  }
  return {};
}

/// The call throws a ConfigError that holds every one of these texts and ends with a hint.
template <class Call>
void expect_config_error(const Call& call, std::initializer_list<const char*> texts) {
  const std::string message = config_error(call);
  INFO(message);
  REQUIRE_FALSE(message.empty());
  CHECK(message.find("\nhint: ") != std::string::npos);
  for (const char* text : texts) {
    INFO(text);
    CHECK(message.find(text) != std::string::npos);
  }
}
