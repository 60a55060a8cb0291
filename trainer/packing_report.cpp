#include "trainer/packing_report.h"

#include "trainer/human.h"
#include "trainer/ratio.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

std::string samples_text(const data::SampleCounts& counts) {
  return with_separators(counts.samples) + (counts.samples == 1 ? " sample" : " samples");
}

std::string counts_text(const data::SampleCounts& counts) {
  return samples_text(counts) + ", " + with_separators(counts.tokens) + " tokens, " +
         with_separators(counts.targets) + " of them targets (" +
         fixed(100 * ratio(counts.targets, counts.tokens), 1) + "%)";
}

/// A sample of n tokens takes n - 1 positions.
std::string rows_text(const data::Loader::Packed& source, int64_t length) {
  const data::SampleCounts& trained = source.report.trained;
  return with_separators(source.sequences) + " of " + std::to_string(length) + ", " +
         fixed(100 * ratio(trained.tokens - trained.samples, source.sequences * length), 1) +
         "% full";
}

void source_rows(Table& table, const data::Loader::Packed& source, int64_t length) {
  const data::SampleReport& report = source.report;
  table.row(source.source, counts_text(report.trained));
  table.row("  rows", rows_text(source, length));
  if (report.held_out.samples > 0) table.row("  held out", counts_text(report.held_out));
  if (report.cut.samples > 0) {
    table.row("  cut", samples_text(report.cut) + " of " + with_separators(report.cut.tokens) +
                           " tokens at their ends, " + with_separators(report.cut.targets) +
                           " of them targets");
  }
  for (const auto& [reason, counts] : report.dropped) {
    table.row("  left out", samples_text(counts) + " of " + with_separators(counts.tokens) +
                                " tokens: " + reason);
  }
}

}  // namespace

std::string packing_report(const std::vector<data::Loader::Packed>& sources, int64_t length,
                           int64_t sequences) {
  Table table;
  table.section("data");
  int64_t rows = 0;
  for (const data::Loader::Packed& source : sources) {
    source_rows(table, source, length);
    rows += source.sequences;
  }
  table.row("passes", fixed(ratio(sequences, rows), 2) + " over " + with_separators(rows) +
                          " rows in this run");
  return table.text();
}

}  // namespace dsmoe::train
