#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsmoe::data {

/// A regular expression over bytes, by PCRE2: compiled to machine code where PCRE2 can do so.
class ByteRegex {
 public:
  struct Match {
    size_t begin;
    size_t end;
  };

  /// What a search writes to; one for each thread that searches.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class ByteRegex;
    class Impl;
    std::unique_ptr<Impl> impl_;
  };

  /// place: for messages. Throws DataError with PCRE2's words on a pattern that does not compile.
  ByteRegex(const std::string& pattern, std::string place);
  ~ByteRegex();
  ByteRegex(ByteRegex&&) noexcept;
  ByteRegex& operator=(ByteRegex&&) = delete;
  ByteRegex(const ByteRegex&) = delete;
  ByteRegex& operator=(const ByteRegex&) = delete;

  /// The matches in `subject`, left to right: each search starts where the last match ended; an
  /// empty match there does not count, and the search goes on one byte further.
  /// Throws DataError when a search exceeds PCRE2's limits.
  void find_all(std::string_view subject, Scratch& scratch, std::vector<Match>& matches) const;

 private:
  class Code;
  [[nodiscard]] bool search(std::string_view subject, size_t start, Scratch& scratch,
                            Match& match) const;

  std::unique_ptr<Code> code_;
  std::string place_;
  std::array<bool, 256> starts_{};  ///< bytes that a match may begin with
  bool may_be_empty_ = false;       ///< then starts_ says nothing
};

}  // namespace dsmoe::data
