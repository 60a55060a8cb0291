#include "trainer/run_state.h"

#include <nlohmann/json.hpp>

#include "configs/errors.h"

namespace dsmoe::train {

std::string to_json(const RunState& state) {
  const nlohmann::ordered_json json = {{"step", state.step},
                                       {"sequences", state.sequences},
                                       {"tokens", state.tokens},
                                       {"optimizer_steps", state.optimizer_steps},
                                       {"skipped_in_row", state.skipped_in_row},
                                       {"data_fingerprint", state.data_fingerprint},
                                       {"threads", state.threads},
                                       {"cpu_capability", state.cpu_capability}};
  return json.dump(2) + "\n";
}

RunState parse_run_state(const std::string& text, const std::string& path) {
  try {
    const auto json = nlohmann::json::parse(text);
    RunState state;
    json.at("step").get_to(state.step);
    json.at("sequences").get_to(state.sequences);
    json.at("tokens").get_to(state.tokens);
    json.at("optimizer_steps").get_to(state.optimizer_steps);
    json.at("skipped_in_row").get_to(state.skipped_in_row);
    json.at("data_fingerprint").get_to(state.data_fingerprint);
    json.at("threads").get_to(state.threads);
    json.at("cpu_capability").get_to(state.cpu_capability);
    return state;
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(path + ": not a run's state: " + error.what() +
                          "\nhint: resume from an older step directory");
  }
}

}  // namespace dsmoe::train
