#pragma once

#include <cstdint>
#include <string>

namespace dsmoe::train {

/// Numbers as people read them. What is not finite reads "n/a".

/// Fixed point with `decimals` digits after it.
[[nodiscard]] std::string fixed(double value, int decimals);
/// Two significant digits and an exponent: 2.4e-04.
[[nodiscard]] std::string scientific(double value);
/// 7, 999, 1.2k, 41.2k, 3.7M, 236.0B, 8.1T.
[[nodiscard]] std::string human_count(double value);
/// 512 B, 1.0 KiB, 3.4 GiB.
[[nodiscard]] std::string human_bytes(double bytes);
/// 12s, 6m12s, 1h02m, 3d04h; under ten seconds with a decimal: 2.5s.
[[nodiscard]] std::string human_duration(double seconds);
/// "5GB", "500MB", "2GiB", "1048576": bytes, above zero; decimal units are powers of 1000. Throws
/// ConfigError naming `option`.
[[nodiscard]] int64_t parse_bytes(const std::string& text, const std::string& option);
/// 12,345,678.
[[nodiscard]] std::string with_separators(int64_t value);

/// Spaces before, up to `width` characters; longer text stands as it is.
[[nodiscard]] std::string pad_left(const std::string& text, size_t width);
/// Spaces after.
[[nodiscard]] std::string pad_right(const std::string& text, size_t width);

}  // namespace dsmoe::train
