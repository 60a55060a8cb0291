#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_regex.h"
#include "data/regex_parser.h"
#include "data/symbol_map.h"

namespace dsmoe::data {

/// What becomes of the matches of a split: Hugging Face's SplitDelimiterBehavior.
enum class SplitBehavior {
  kIsolated,            ///< a match is a piece
  kRemoved,             ///< a match is dropped
  kMergedWithPrevious,  ///< a match ends the piece before it
  kMergedWithNext,      ///< a match begins the piece after it
  kContiguous,          ///< matches that touch are one piece
};

/// One stage: cuts each piece that the stage before left.
struct SplitStage {
  RegexParts regex;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  ///< what does not match counts as the matches
  std::string place;    ///< in tokenizer.json, for messages
};

/// A pre-tokenizer: stages, and how the bytes of what they leave are taken.
struct PretokenizerSpec {
  std::vector<SplitStage> stages;
  /// Each piece of these stages that does not begin with a space gets one, before `last_stages`.
  bool add_prefix_space = false;
  std::vector<SplitStage> last_stages;
};

/// Cuts text into words. Const functions may be called by many threads, each with its own Scratch.
class Pretokenizer {
 public:
  /// A word: characters [begin, end) of the text, behind a space that the text does not hold if
  /// `prefixed`.
  struct Piece {
    uint32_t begin;
    uint32_t end;
    bool prefixed;
  };

  struct Span {
    uint32_t begin;
    uint32_t end;
    bool is_match;
  };

  /// What split() writes to.
  struct Scratch {
    std::vector<Piece> pieces;  ///< the words
    std::string symbols;
    std::vector<uint32_t> starts;
    std::vector<Piece> cut;
    std::vector<Span> spans;
    std::vector<ByteRegex::Match> matches;
    std::string word;
    ByteRegex::Scratch regex;
  };

  /// Throws DataError on a pattern that PCRE2 does not take.
  explicit Pretokenizer(const PretokenizerSpec& spec);

  /// Leaves the words of `text`, valid UTF-8, in scratch.pieces. Throws DataError when PCRE2's
  /// limits are exceeded, or the text is 4 GiB or longer.
  void split(std::string_view text, Scratch& scratch) const;
  /// The bytes of scratch.pieces[i], valid until the next call.
  [[nodiscard]] static std::string_view word(std::string_view text, size_t i, Scratch& scratch);

 private:
  struct Stage {
    ByteRegex regex;
    SplitBehavior behavior;
    bool invert;
  };
  [[nodiscard]] std::vector<Stage> compile(const std::vector<SplitStage>& stages) const;
  void run(const Stage& stage, Scratch& scratch) const;
  void cut(const Stage& stage, const Piece& piece, Scratch& scratch) const;
  void add_prefixes(Scratch& scratch) const;

  SymbolMap symbols_;
  char space_;  ///< the symbol of the space
  std::vector<Stage> stages_;
  bool add_prefix_space_;
  std::vector<Stage> last_stages_;
};

}  // namespace dsmoe::data
