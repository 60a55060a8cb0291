#include "configs/dump.h"

#include "configs/fields.h"
#include "configs/yaml_writer.h"

namespace dsmoe::config {

std::string dump(const RunConfig& config) {
  Node root;
  for (const Section& section : sections()) {
    root.add(section.name, write_map(section.rows, config));
  }
  return block_text(root);
}

std::vector<Difference> differences(const RunConfig& left, const RunConfig& right) {
  std::vector<Difference> found;
  for (const Section& section : sections()) {
    for (const Row<RunConfig>& one : section.rows) {
      const std::string a = flow_text(one.write(left));
      const std::string b = flow_text(one.write(right));
      if (a != b) {
        found.push_back({section.name + "." + one.info.name, a, b});
      }
    }
  }
  return found;
}

}  // namespace dsmoe::config
