#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "tests/support/rank_suite.h"

namespace dsmoe::test {

/// Collects failures as sentences, for code that runs outside Catch2's thread.
class Checks final {
 public:
  void that(bool ok, const std::string& what);
  /// Equal dtype, shape and values, bit for bit.
  void equal(const at::Tensor& actual, const at::Tensor& expected, const std::string& what);
  void equal(int64_t actual, int64_t expected, const std::string& what);
  /// `call` throws an Error whose message contains `part`.
  template <typename Error>
  void throws(const std::function<void()>& call, const std::string& part, const std::string& what) {
    try {
      call();
      that(false, what + " does not throw");
    } catch (const Error& error) {
      const std::string message = error.what();
      that(message.find(part) != std::string::npos,
           what + " should say '" + part + "', says: " + message);
    }
  }
  [[nodiscard]] Failures failures() const { return failures_; }

 private:
  Failures failures_;
};

/// Adds `more` behind `failures`.
inline void append(Failures& failures, const Failures& more) {
  failures.insert(failures.end(), more.begin(), more.end());
}

}  // namespace dsmoe::test
