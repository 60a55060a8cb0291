#include "configs/fields.h"

namespace dsmoe::config {

const std::vector<Section>& sections() {
  static const std::vector<Section> all{
      run_section(),     model_section(),  finetune_section(),  parallel_section(),
      data_section(),    batch_section(),  optimizer_section(), schedule_section(),
      balance_section(), router_section(), drop_section(),      checkpoint_section(),
      log_section(),     eval_section()};
  return all;
}

std::vector<std::string> all_keys() {
  std::vector<std::string> keys;
  for (const Section& section : sections()) {
    for (const Row<RunConfig>& one : section.rows) {
      keys.push_back(section.name + "." + one.info.name);
    }
  }
  return keys;
}

}  // namespace dsmoe::config
