#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/code_point_set.h"

namespace dsmoe::data {

/// A token that is cut out of the text before anything else; named as in `added_tokens`.
struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< looked for in what the others leave
  bool special = false;      ///< left out when decoding
};

/// Finds added tokens as Hugging Face's AddedVocabulary does: the longest at the leftmost place,
/// searched on from the end of the last find, even one that was then refused as no single word.
class AddedTokens {
 public:
  /// A part of the text: an added token, or text between them (id -1).
  struct Part {
    std::string_view text;
    int64_t id;
  };

  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  /// Cuts `text`, valid UTF-8, into `parts`, none of them an empty text.
  void cut(std::string_view text, std::vector<Part>& parts) const;

 private:
  /// Tokens by their bytes.
  class Trie {
   public:
    void insert(const AddedToken& token);
    [[nodiscard]] bool empty() const { return tokens_.empty(); }
    /// The longest token at or after `start`; null if there is none. Moves `start` to it.
    [[nodiscard]] const AddedToken* find(std::string_view text, size_t& start) const;

   private:
    struct Node {
      std::vector<std::pair<char, size_t>> children;
      size_t token = kNone;
    };
    static constexpr size_t kNone = static_cast<size_t>(-1);
    [[nodiscard]] size_t child(size_t node, char byte) const;
    [[nodiscard]] const AddedToken* longest(std::string_view text) const;

    std::vector<AddedToken> tokens_;
    std::vector<Node> nodes_{1};
    std::array<bool, 256> starts_{};
  };

  void cut(const Trie& trie, std::string_view text, std::vector<Part>& parts) const;
  [[nodiscard]] bool stands_alone(std::string_view text, size_t begin, size_t end) const;
  [[nodiscard]] size_t blanks_before(std::string_view text, size_t begin) const;
  [[nodiscard]] size_t blanks_behind(std::string_view text, size_t end) const;

  Trie raw_;
  Trie normalized_;
  CodePointSet word_;
  CodePointSet blank_;
};

}  // namespace dsmoe::data
