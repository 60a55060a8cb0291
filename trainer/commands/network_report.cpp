#include "trainer/commands/network_report.h"

#include "trainer/human.h"
#include "trainer/table.h"

namespace dsmoe::train {
namespace {

std::string speed(double bytes_per_second) { return human_bytes(bytes_per_second) + "/s"; }

std::string micro(double seconds) { return fixed(1e6 * seconds, 1) + " us"; }

}  // namespace

std::string network_text(const NetworkTimes& times, const std::vector<Placement>& placements,
                         const std::vector<int64_t>& threads) {
  Table table;
  table.section("ranks");
  add_placement_rows(table, placements, threads);
  table.section("messages from rank 0");
  for (const LinkTime& link : times.links) {
    table.row("to rank " + std::to_string(link.rank),
              micro(link.latency) + ", " + speed(link.bytes_per_second));
  }
  table.section("collectives of all ranks: time, and what crosses a rank's link");
  for (const CollectiveTime& one : times.collectives) {
    table.row(one.operation + " of " + human_bytes(static_cast<double>(one.bytes)),
              micro(one.seconds) + ", " + speed(one.bus_bytes_per_second));
  }
  return table.text();
}

nlohmann::ordered_json network_json(const NetworkTimes& times,
                                    const std::vector<Placement>& placements) {
  nlohmann::ordered_json json;
  for (const Placement& place : placements) {
    json["ranks"].push_back({{"host", place.host}, {"cores", place.cores}});
  }
  for (const LinkTime& link : times.links) {
    json["links"].push_back({{"rank", link.rank},
                             {"latency_seconds", link.latency},
                             {"bytes_per_second", link.bytes_per_second}});
  }
  for (const CollectiveTime& one : times.collectives) {
    json["collectives"].push_back({{"operation", one.operation},
                                   {"bytes", one.bytes},
                                   {"seconds", one.seconds},
                                   {"bus_bytes_per_second", one.bus_bytes_per_second}});
  }
  return json;
}

}  // namespace dsmoe::train
