#include "tests/support/saved_run.h"

#include <filesystem>
#include <fstream>
#include <map>

#include "data/tokenizer.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_saver.h"
#include "trainer/optimizer_files.h"
#include "trainer/optimizer_state.h"
#include "trainer/safetensors_directory.h"

namespace dsmoe::test {
namespace {

constexpr int64_t kSequences = 16;

void save(TinyRun& run, const std::string& folder, int64_t step) {
  train::CheckpointSaver saver(run.session().world, [](const std::string&, double, double) {});
  train::RunState state;
  state.step = state.optimizer_steps = step;
  saver.save(folder, checkpointed(run), state, *data::make_tokenizer("byte"));
}

int64_t bytes_of(const nn::FlatPair& pair) {
  return static_cast<int64_t>(pair.dense.nbytes() + pair.expert.nbytes());
}

int64_t held_bytes(TinyRun& run) {
  int64_t sum = bytes_of(run.session().store.weights());
  for (const train::StateKind& kind : train::state_kinds(checkpointed(run))) {
    sum += bytes_of(*kind.buffers);
  }
  return sum;
}

/// By this thread, since it began. Throws where the system does not tell.
int64_t bytes_read() {
  std::ifstream file("/proc/thread-self/io");
  std::string key;
  int64_t bytes = -1;
  file >> key >> bytes;
  if (key != "rchar:" || bytes < 0) throw std::runtime_error("/proc/thread-self/io has no rchar");
  return bytes;
}

int64_t header_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof length);
  return static_cast<int64_t>(length + sizeof length);
}

/// Every tensor of model/ and optimizer/, gathered from all files.
std::map<std::string, at::Tensor> saved_tensors(const std::string& step_directory) {
  std::map<std::string, at::Tensor> tensors;
  const auto model = train::SafetensorsDirectory::open(step_directory + "/model");
  const auto state = train::OptimizerFiles::open(step_directory);
  for (const std::string& name : model.names()) {
    const at::Tensor weights = tensors[name] = model.read(name);
    const bool trains = name.find("e_score_correction_bias") == std::string::npos;
    const bool has_master = weights.scalar_type() == at::kBFloat16;
    for (const char* kind : {train::kFirstMoment, train::kSecondMoment, train::kMaster}) {
      if (!trains || (kind == train::kMaster && !has_master)) continue;
      tensors[kind + name] = state.read_elements(kind + name, 0, weights.numel());
    }
  }
  return tensors;
}

}  // namespace

train::Checkpointed checkpointed(TinyRun& run) {
  train::Session& s = run.session();
  return {s.config, s.store, run.optimizer(), s.topology, s.world, s.groups};
}

Reading take_over(parallel::Communicator& world, config::RunConfig config, const std::string& from,
                  const std::string& folder, int64_t step) {
  config.checkpoint.keep = 1000;
  config.run.seed += step;  // what is not read is another's
  const bool begins = from.empty();
  TinyRun run(config, {.sequences = kSequences, .padded = true, .biased = begins}, world);
  Reading reading;
  if (!begins) {
    const int64_t before = bytes_read();
    static_cast<void>(train::load_checkpoint(from, checkpointed(run)));
    reading = {bytes_read() - before, held_bytes(run)};
  }
  save(run, folder, step);
  run.step(step * kSequences);
  save(run, folder, step + 1);
  return reading;
}

std::string saved_step(const std::string& folder, int64_t step) {
  return folder + "/" + train::step_directory_name(step);
}

void compare_saved(Checks& checks, const std::string& again, const std::string& before,
                   const std::string& what) {
  const auto actual = saved_tensors(again), expected = saved_tensors(before);
  checks.that(expected.size() > 100, what + "few tensors");
  checks.equal(static_cast<int64_t>(actual.size()), static_cast<int64_t>(expected.size()),
               what + "number of tensors");
  for (const auto& [name, values] : expected) {
    const auto found = actual.find(name);
    checks.that(found != actual.end(), what + name + " is missing");
    if (found != actual.end()) checks.equal(found->second, values, what + name);
  }
}

int64_t described_bytes(const std::string& step_directory) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(step_directory)) {
    if (!entry.is_regular_file()) continue;
    const bool tensors = entry.path().extension() == ".safetensors";
    bytes += tensors ? header_bytes(entry.path()) : static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

}  // namespace dsmoe::test
