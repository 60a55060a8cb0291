#include "data/added_tokens.h"

#include <algorithm>
#include <utility>

#include "data/utf8.h"

namespace dsmoe::data {
namespace {

/// Where the character that ends at `end` begins.
size_t character_before(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

char32_t code_point_at(std::string_view text, size_t position) {
  return next_code_point(text, position);
}

}  // namespace

void AddedTokens::Trie::insert(const AddedToken& token) {
  size_t node = 0;
  for (const char byte : token.content) {
    size_t next = child(node, byte);
    if (next == kNone) {
      next = nodes_.size();
      nodes_[node].children.emplace_back(byte, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  nodes_[node].token = tokens_.size();
  tokens_.push_back(token);
  starts_[static_cast<uint8_t>(token.content.front())] = true;
}

size_t AddedTokens::Trie::child(size_t node, char byte) const {
  for (const auto& [key, next] : nodes_[node].children) {
    if (key == byte) return next;
  }
  return kNone;
}

const AddedToken* AddedTokens::Trie::longest(std::string_view text) const {
  const AddedToken* found = nullptr;
  size_t node = 0;
  for (const char byte : text) {
    node = child(node, byte);
    if (node == kNone) break;
    if (nodes_[node].token != kNone) found = &tokens_[nodes_[node].token];
  }
  return found;
}

const AddedToken* AddedTokens::Trie::find(std::string_view text, size_t& start) const {
  for (; start < text.size(); ++start) {
    if (starts_[static_cast<uint8_t>(text[start])]) {
      if (const AddedToken* token = longest(text.substr(start))) return token;
    }
  }
  return nullptr;
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens)
    : word_(rust_word()), blank_(white_space()) {
  for (const AddedToken& token : tokens) {
    (token.normalized ? normalized_ : raw_).insert(token);
  }
}

void AddedTokens::cut(std::string_view text, std::vector<Part>& parts) const {
  parts.clear();
  cut(raw_, text, parts);
  if (normalized_.empty()) {
    return;
  }
  std::vector<Part> again;
  for (const Part& part : parts) {
    if (part.id < 0) {
      cut(normalized_, part.text, again);
    } else {
      again.push_back(part);
    }
  }
  std::swap(parts, again);
}

void AddedTokens::cut(const Trie& trie, std::string_view text, std::vector<Part>& parts) const {
  size_t done = 0;  // the text before is in `parts`
  size_t search = 0;
  while (const AddedToken* token = trie.find(text, search)) {
    size_t begin = search;
    size_t end = search + token->content.size();
    search = end;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip) begin = std::max(blanks_before(text, begin), done);
    if (token->rstrip) end = blanks_behind(text, end);
    if (done < begin) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({{}, token->id});
    // Within the blanks that the last token took, this goes back, as it does in Hugging Face.
    done = end;
  }
  if (done < text.size()) {
    parts.push_back({text.substr(done), -1});
  }
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  const bool touches_before =
      begin > 0 && word_.contains(code_point_at(text, character_before(text, begin)));
  const bool touches_behind = end < text.size() && word_.contains(code_point_at(text, end));
  return !touches_before && !touches_behind;
}

size_t AddedTokens::blanks_before(std::string_view text, size_t begin) const {
  while (begin > 0) {
    const size_t before = character_before(text, begin);
    if (!blank_.contains(code_point_at(text, before))) break;
    begin = before;
  }
  return begin;
}

size_t AddedTokens::blanks_behind(std::string_view text, size_t end) const {
  while (end < text.size()) {
    size_t behind = end;
    if (!blank_.contains(next_code_point(text, behind))) break;
    end = behind;
  }
  return end;
}

}  // namespace dsmoe::data
