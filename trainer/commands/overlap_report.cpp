#include "trainer/commands/overlap_report.h"

#include "trainer/human.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

std::string side_by_side(double without, double with) {
  const std::string ratio = without > 0 ? ", " + fixed(with / without, 2) + " times" : "";
  return fixed(1e3 * without, 1) + " ms, with overlap " + fixed(1e3 * with, 1) + " ms" + ratio;
}

nlohmann::ordered_json to_json(const OverlapTimes& times) {
  return {{"step", times.step},
          {"gradient_sums", times.gradient_sums},
          {"row_exchanges", times.row_exchanges}};
}

}  // namespace

std::string overlap_text(const OverlapResult& result) {
  const auto& [without, with] = result;
  Table table;
  table.section("one after the other");
  table.row("step without optimizer", side_by_side(without.step, with.step));
  table.row("held up by sums of gradients",
            side_by_side(without.gradient_sums, with.gradient_sums));
  table.row("held up by rows under way", side_by_side(without.row_exchanges, with.row_exchanges));
  return table.text();
}

nlohmann::ordered_json overlap_json(const OverlapResult& result) {
  return {{"without", to_json(result.without)}, {"with", to_json(result.with)}};
}

}  // namespace dsmoe::train
