#include "data/whole_source.h"

#include <rapidcheck.h>

#include <algorithm>
#include <map>

#include "data/token_batch.h"
#include "tests/support/catch.h"

namespace dsmoe::data {
namespace {

constexpr int64_t kPadding = 99;

/// A row as WholeSource writes it.
struct Row {
  std::vector<int64_t> inputs, targets, begins;
  std::vector<float> weights;
  std::vector<char> valid;
};

Row read(WholeSource& source, int64_t index, int64_t length) {
  const auto size = static_cast<size_t>(length);
  Row row{std::vector<int64_t>(size),
          std::vector<int64_t>(size),
          {},
          std::vector<float>(size),
          std::vector<char>(size)};
  const auto valid = std::make_unique<bool[]>(size);
  row.begins =
      source.read(index, {row.inputs.data(), row.targets.data(), row.weights.data(), valid.get()});
  std::copy_n(valid.get(), size, row.valid.begin());
  return row;
}

/// Sample i has lengths[i] tokens of id i; every token but the first is a target of weight i + 1.
SampleSet samples_of(const std::vector<int64_t>& lengths) {
  SampleSet set(100);
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto n = static_cast<size_t>(lengths[i]);
    TokenSample sample{std::vector<int64_t>(n, static_cast<int64_t>(i)),
                       std::vector<float>(n, static_cast<float>(i + 1))};
    sample.weights[0] = 0;
    set.append(sample);
  }
  return set;
}

TEST_CASE("every epoch holds every sample whole and once, whatever their lengths") {
  CHECK(rc::check("rows are samples side by side, then padding", [] {
    constexpr int64_t kLength = 12;
    const auto count = *rc::gen::inRange<size_t>(1, 40);
    const auto lengths =
        *rc::gen::container<std::vector<int64_t>>(count, rc::gen::inRange<int64_t>(2, kLength + 2));
    WholeSource source(samples_of(lengths), kLength, kPadding, /*seed=*/3, /*source=*/0);
    const int64_t rows = source.sequences_per_epoch();
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::map<int64_t, int64_t> positions;
      for (int64_t r = 0; r < rows; ++r) {
        const Row row = read(source, epoch * rows + r, kLength);
        RC_ASSERT(row.begins.front() == 0);
        for (size_t t = 0; t < row.inputs.size(); ++t) {
          if (row.valid[t] == 0) {
            RC_ASSERT(row.inputs[t] == kPadding);
            RC_ASSERT(row.targets[t] == kNoTarget);
            continue;
          }
          RC_ASSERT(row.targets[t] == row.inputs[t]);
          RC_ASSERT(row.weights[t] == static_cast<float>(row.inputs[t] + 1));
          ++positions[row.inputs[t]];
        }
      }
      RC_ASSERT(positions.size() == count);
      for (size_t i = 0; i < count; ++i) {
        RC_ASSERT(positions[static_cast<int64_t>(i)] == lengths[i] - 1);
      }
    }
  }));
}

TEST_CASE("each sample begins a piece, and so does the padding") {
  WholeSource source(samples_of({4, 4, 3}), 9, kPadding, 1, 0);
  REQUIRE(source.sequences_per_epoch() == 1);
  const Row row = read(source, 0, 9);
  CHECK(row.begins.size() == 4);
  CHECK(row.begins.back() == 8);
  CHECK(row.valid[7] == 1);
  CHECK(row.valid[8] == 0);
}

TEST_CASE("rows are the same for the same seed and come in another order in the next epoch") {
  std::vector<int64_t> lengths(60, 6);
  WholeSource a(samples_of(lengths), 10, kPadding, 5, 0),
      b(samples_of(lengths), 10, kPadding, 5, 0);
  const int64_t rows = a.sequences_per_epoch();
  REQUIRE(rows == 30);
  bool moved = false;
  for (int64_t r = 0; r < rows; ++r) {
    const Row row = read(a, r, 10);
    CHECK(row.inputs == read(b, r, 10).inputs);
    moved = moved || row.inputs != read(b, rows + r, 10).inputs;
  }
  CHECK(moved);
}

TEST_CASE("rows are filled up: mixed lengths leave little padding") {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 80; ++i) lengths.push_back(2 + (i * 37) % 60);
  int64_t positions = 0;
  for (const int64_t n : lengths) positions += n - 1;
  WholeSource source(samples_of(lengths), 64, kPadding, 1, 0);
  CHECK(static_cast<double>(positions) / static_cast<double>(64 * source.sequences_per_epoch()) >
        0.9);
}

}  // namespace
}  // namespace dsmoe::data
