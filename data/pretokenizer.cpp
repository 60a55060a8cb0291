#include "data/pretokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

using Span = Pretokenizer::Span;

std::vector<CodePointSet> all_sets(const PretokenizerSpec& spec) {
  std::vector<CodePointSet> sets{CodePointSet({{' ', ' '}})};
  for (const auto* stages : {&spec.stages, &spec.last_stages}) {
    for (const SplitStage& stage : *stages) {
      sets.insert(sets.end(), stage.regex.sets.begin(), stage.regex.sets.end());
    }
  }
  return sets;
}

std::string place_of(const PretokenizerSpec& spec) {
  const auto& stages = spec.stages.empty() ? spec.last_stages : spec.stages;
  return stages.empty() ? "pre_tokenizer" : stages.front().place;
}

/// Matches and what lies between them, in order.
void spans_of(const std::vector<ByteRegex::Match>& matches, size_t length, bool invert,
              std::vector<Span>& spans) {
  spans.clear();
  uint32_t end = 0;
  for (const auto& match : matches) {
    const auto begin = static_cast<uint32_t>(match.begin);
    if (begin != end) spans.push_back({end, begin, invert});
    end = static_cast<uint32_t>(match.end);
    spans.push_back({begin, end, !invert});
  }
  if (end != length) spans.push_back({end, static_cast<uint32_t>(length), invert});
}

/// Keeps one span of each group: `joins(span, previous)` says whether it belongs to the last one.
template <typename Joins>
void merge(std::vector<Span>& spans, const Joins& joins) {
  size_t kept = 0;
  bool previous = false;
  for (const Span span : spans) {
    if (kept > 0 && joins(span.is_match, previous)) {
      spans[kept - 1].begin = std::min(spans[kept - 1].begin, span.begin);
      spans[kept - 1].end = std::max(spans[kept - 1].end, span.end);
    } else {
      spans[kept++] = span;
    }
    previous = span.is_match;
  }
  spans.resize(kept);
}

bool joins_first_match(bool is_match, bool previous) { return is_match && !previous; }

void apply(SplitBehavior behavior, std::vector<Span>& spans) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.is_match; });
      break;
    case SplitBehavior::kContiguous:
      merge(spans, [](bool is_match, bool previous) { return is_match == previous; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      merge(spans, joins_first_match);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(spans.begin(), spans.end());
      merge(spans, joins_first_match);
      std::reverse(spans.begin(), spans.end());
      break;
  }
}

}  // namespace

Pretokenizer::Pretokenizer(const PretokenizerSpec& spec)
    : symbols_(all_sets(spec), place_of(spec)),
      space_(static_cast<char>(symbols_.symbol(' '))),
      stages_(compile(spec.stages)),
      add_prefix_space_(spec.add_prefix_space),
      last_stages_(compile(spec.last_stages)) {}

std::vector<Pretokenizer::Stage> Pretokenizer::compile(
    const std::vector<SplitStage>& stages) const {
  std::vector<Stage> compiled;
  for (const SplitStage& stage : stages) {
    compiled.push_back(
        {ByteRegex(symbols_.over_symbols(stage.regex), stage.place), stage.behavior, stage.invert});
  }
  return compiled;
}

void Pretokenizer::split(std::string_view text, Scratch& scratch) const {
  if (text.size() >= std::numeric_limits<uint32_t>::max()) {
    throw DataError("a text of " + std::to_string(text.size()) +
                    " bytes is longer than 4294967294\nhint: cut it into documents");
  }
  scratch.pieces.clear();
  if (text.empty()) {
    return;
  }
  symbols_.map(text, scratch.symbols, scratch.starts);
  scratch.pieces.push_back({0, static_cast<uint32_t>(scratch.symbols.size()), false});
  for (const Stage& stage : stages_) {
    run(stage, scratch);
  }
  if (add_prefix_space_) {
    add_prefixes(scratch);
  }
  for (const Stage& stage : last_stages_) {
    run(stage, scratch);
  }
}

void Pretokenizer::run(const Stage& stage, Scratch& scratch) const {
  scratch.cut.clear();
  for (const Piece& piece : scratch.pieces) {
    cut(stage, piece, scratch);
  }
  std::swap(scratch.pieces, scratch.cut);
}

void Pretokenizer::cut(const Stage& stage, const Piece& piece, Scratch& scratch) const {
  const uint32_t prefix = piece.prefixed ? 1 : 0;
  std::string_view subject(scratch.symbols.data() + piece.begin, piece.end - piece.begin);
  if (piece.prefixed) {
    scratch.word.assign(1, space_);
    scratch.word.append(subject);
    subject = scratch.word;
  }
  stage.regex.find_all(subject, scratch.regex, scratch.matches);
  if (scratch.matches.empty() && !stage.invert) {
    scratch.cut.push_back(piece);
    return;
  }
  spans_of(scratch.matches, subject.size(), stage.invert, scratch.spans);
  apply(stage.behavior, scratch.spans);
  for (const Span& span : scratch.spans) {
    if (span.begin == span.end) continue;
    const bool prefixed = piece.prefixed && span.begin == 0;
    const uint32_t begin = prefixed ? piece.begin : piece.begin + span.begin - prefix;
    scratch.cut.push_back({begin, piece.begin + span.end - prefix, prefixed});
  }
}

void Pretokenizer::add_prefixes(Scratch& scratch) const {
  for (Piece& piece : scratch.pieces) {
    piece.prefixed = scratch.symbols[piece.begin] != space_;
  }
}

std::string_view Pretokenizer::word(std::string_view text, size_t i, Scratch& scratch) {
  const Piece& piece = scratch.pieces[i];
  const bool ascii = scratch.starts.empty();
  const size_t begin = ascii ? piece.begin : scratch.starts[piece.begin];
  const size_t end = ascii ? piece.end : scratch.starts[piece.end];
  const std::string_view bytes = text.substr(begin, end - begin);
  if (!piece.prefixed) {
    return bytes;
  }
  scratch.word.assign(1, ' ');
  scratch.word.append(bytes);
  return scratch.word;
}

}  // namespace dsmoe::data
