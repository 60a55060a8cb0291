#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace dsmoe::data {

/// A running xxh3-128 hash over parts, each with its length, so that ("ab", "c") and ("a", "bc")
/// differ. No protection against somebody who means harm.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  void add(double number);
  /// 32 hexadecimal digits, of what was added so far.
  [[nodiscard]] std::string hex() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace dsmoe::data
