#pragma once

#include <string>
#include <vector>

#include "configs/field.h"
#include "configs/run_config.h"

namespace dsmoe::config {

/// The rows of the model section, in the order of the dump; also the keys of a published
/// config.json that are used.
const Rows<ModelConfig>& model_rows();
const Rows<RopeScaling>& rope_scaling_rows();

/// One top-level key of a configuration file.
struct Section {
  std::string name;
  std::string title;  ///< one sentence
  Rows<RunConfig> rows;
};

/// All sections in the order of the dump. The `model` section is among them.
const std::vector<Section>& sections();

/// `section.key` of every row, in the order of the dump.
std::vector<std::string> all_keys();

Section run_section();
Section model_section();
Section finetune_section();
Section parallel_section();
Section data_section();
Section batch_section();
Section optimizer_section();
Section schedule_section();
Section balance_section();
Section router_section();
Section drop_section();
Section checkpoint_section();
Section log_section();
Section eval_section();

/// The rows of one member struct of RunConfig as rows of RunConfig.
template <class Owner>
Section make_section(const std::string& name, const std::string& title, Owner RunConfig::* member,
                     const Rows<Owner>& rows) {
  Section section{name, title, {}};
  for (const Row<Owner>& one : rows) {
    Row<RunConfig> lifted;
    lifted.info = one.info;
    lifted.read = [member, read = one.read](const Node& node, const std::string& key,
                                            RunConfig& config, ErrorList& errors) {
      read(node, key, config.*member, errors);
    };
    lifted.write = [member, write = one.write](const RunConfig& config) {
      return write(config.*member);
    };
    section.rows.push_back(std::move(lifted));
  }
  return section;
}

}  // namespace dsmoe::config
