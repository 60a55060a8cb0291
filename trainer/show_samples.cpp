#include "trainer/show_samples.h"

#include <algorithm>
#include <vector>

namespace dsmoe::train {
namespace {

struct Marks {
  std::string begin;
  std::string end;
};

/// The inputs and targets of one sample.
struct Piece {
  std::vector<int64_t> tokens;
  std::vector<bool> learned;
};

std::string name_of(int64_t id, const data::Tokenizer& tokenizer) {
  if (id == tokenizer.bos()) return "<bos>";
  return id == tokenizer.eos() ? "<eos>" : "";
}

/// Ordinary tokens are decoded together: a character may be made of several.
std::string text_of(const std::vector<int64_t>& ids, const data::Tokenizer& tokenizer) {
  std::string text;
  std::vector<int64_t> ordinary;
  for (const int64_t id : ids) {
    const std::string name = name_of(id, tokenizer);
    if (name.empty()) {
      ordinary.push_back(id);
      continue;
    }
    text += tokenizer.decode(ordinary) + name;
    ordinary.clear();
  }
  return text + tokenizer.decode(ordinary);
}

std::string render(const Piece& piece, const data::Tokenizer& tokenizer, const Marks& marks) {
  std::string text;
  for (size_t i = 0; i < piece.tokens.size();) {
    const bool learned = piece.learned[i];
    std::vector<int64_t> run;
    for (; i < piece.tokens.size() && piece.learned[i] == learned; ++i) {
      run.push_back(piece.tokens[i]);
    }
    const std::string words = text_of(run, tokenizer);
    text += learned ? marks.begin + words + marks.end : words;
  }
  return text;
}

/// The samples of one row: from each start to the next, without the padding behind the last.
std::vector<Piece> pieces_of(const data::TokenBatch& batch) {
  std::vector<int64_t> starts = batch.document_starts;
  if (starts.empty()) starts.push_back(0);
  const int64_t end = batch.inputs_BT.numel();
  const auto* inputs = batch.inputs_BT.const_data_ptr<int64_t>();
  const auto* targets = batch.targets_BT.const_data_ptr<int64_t>();
  const bool* valid = batch.valid_BT.defined() ? batch.valid_BT.const_data_ptr<bool>() : nullptr;
  std::vector<Piece> pieces;
  for (size_t s = 0; s < starts.size(); ++s) {
    const int64_t stop = s + 1 < starts.size() ? starts[s + 1] : end;
    if (valid != nullptr && !valid[starts[s]]) continue;
    Piece piece{{inputs[starts[s]]}, {false}};
    for (int64_t i = starts[s]; i < stop; ++i) {
      const bool learned = targets[i] >= 0;
      if (!learned && i + 1 == stop) continue;  // the token behind the sample
      piece.tokens.push_back(learned ? targets[i] : inputs[i + 1]);
      piece.learned.push_back(learned);
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

}  // namespace

std::string show_samples(data::Loader& loader, const data::Tokenizer& tokenizer, int64_t count,
                         bool colour) {
  const Marks marks = colour ? Marks{"\x1b[32m", "\x1b[0m"} : Marks{"«", "»"};
  std::string text;
  int64_t shown = 0;
  for (int64_t row = 0; shown < count; ++row) {
    for (const Piece& piece : pieces_of(loader.load({row, row + 1}))) {
      if (shown == count) break;
      ++shown;
      text += "--- sample " + std::to_string(shown) + ": " + std::to_string(piece.tokens.size()) +
              " tokens, " +
              std::to_string(std::count(piece.learned.begin(), piece.learned.end(), true)) +
              " learned\n" + render(piece, tokenizer, marks) + "\n";
    }
  }
  return text;
}

}  // namespace dsmoe::train
