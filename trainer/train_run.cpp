#include "trainer/train_run.h"

#include <filesystem>

#include "configs/dump.h"
#include "configs/errors.h"
#include "configs/init_from.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/base_fingerprint.h"
#include "trainer/check_run.h"
#include "trainer/check_tokenizer.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/human.h"
#include "trainer/lora.h"
#include "trainer/model_directory.h"
#include "trainer/noise_floor.h"
#include "trainer/packing_report.h"
#include "trainer/routing_file.h"
#include "trainer/run_summary.h"
#include "trainer/schedule.h"
#include "trainer/trained_weights.h"

namespace dsmoe::train {
namespace {

/// What the run trains, once every rank agrees that the configuration can run.
nn::TrainingRate checked_rate(const config::RunConfig& config, CommandContext& context) {
  agree(context.world, [&] { check_run(config, context.world.size()); });
  return training_rate(config);
}

/// A held-out source: documents, or where rows hold samples whole, their targets.
data::EvalSet open_eval_set(const config::DataSource& source, config::DataConfig config,
                            const data::Tokenizer& tokenizer) {
  if (config.packing == config::Packing::kStream) {
    return data::EvalSet(source.path, tokenizer, config.sequence_length);
  }
  config.held_out = 0;
  return data::EvalSet(source.path, data::read_samples(source, config, tokenizer).train, tokenizer,
                       config.sequence_length);
}

/// Whether matrix products in bf16 are faster than in fp32 here.
bool multiplies_bf16() { return __builtin_cpu_supports("avx512bf16") != 0; }

bool lies_in(const std::string& path, const std::string& directory) {
  const auto plain = [](const std::filesystem::path& p) {
    return std::filesystem::absolute(p).lexically_normal();
  };
  return plain(path).parent_path() == plain(directory);
}

}  // namespace

TrainRun::TrainRun(const config::RunConfig& config, CommandContext& context)
    : context_(context),
      session_(config, context.world, context.ranks_on_cores, checked_rate(config, context)),
      directory_(config.run),
      optimizer_(config.optimizer, session_.store),
      saver_(context.world, [this](const std::string& path, double waited,
                                   double whole) { show_saved(path, waited, whole); }),
      total_steps_(total_steps(config)) {
  open_data();
  open_directory();
  restore_or_initialize();
  open_logs();
  show_start();
}

void TrainRun::open_data() {
  const config::RunConfig& config = session_.config;
  agree(context_.world, [&] {
    tokenizer_ = data::make_tokenizer(config.data.tokenizer);
    check_tokenizer(*tokenizer_, config.model);
    check_origin();
    loader_ = std::make_unique<data::Loader>(config.data, config.run.seed);
    open_eval_sets();
  });
}

void TrainRun::check_origin() const {
  const std::string& origin = session_.config.model.init_from;
  if (origin.empty()) return;
  const std::string directory = config::find_model_directory(origin);
  if (!std::filesystem::exists(directory + "/tokenizer.json")) return;
  check_same_tokenizer(*tokenizer_, session_.config.data.tokenizer,
                       *data::make_tokenizer(directory), directory);
}

void TrainRun::open_eval_sets() {
  const config::DataConfig& config = session_.config.data;
  for (const config::DataSource& source : config.eval) {
    eval_sets_.emplace_back(source.name, open_eval_set(source, config, *tokenizer_));
  }
  for (data::HeldOut& held : loader_->take_held_out()) {
    eval_sets_.emplace_back(held.source, data::EvalSet(held.source, std::move(held.samples),
                                                       *tokenizer_, config.sequence_length));
  }
}

void TrainRun::open_directory() {
  agree(context_.world, [&] {
    if (!context_.first()) return;
    make_directories(directory_.checkpoints());
    context_.console.tee_to(directory_.log());
  });
}

std::string TrainRun::find() {
  const config::RunConfig& config = session_.config;
  std::vector<std::string> warnings;
  const auto found =
      find_checkpoint(directory_.checkpoints(), config.run.resume, warnings, context_.world);
  agree(context_.world, [&] {
    if (found && context_.first()) check_same_run(*found, config);
  });
  for (const std::string& warning : warnings) context_.console.warn(warning);
  return found.value_or("");
}

void TrainRun::restore_or_initialize() {
  const config::RunConfig& config = session_.config;
  const std::string found = find();
  const bool adapts = uses_lora(config);
  if (adapts) agree(context_.world, [&] { load_origin(); });
  if (!found.empty()) {
    agree(context_.world, [&] { restore(found); });
    warn_about_machine();
    if (lies_in(found, directory_.checkpoints())) saved_step_ = state_.step;
    context_.console.info("resumed from " + found);
  } else if (!config.model.init_from.empty()) {
    if (!adapts) agree(context_.world, [&] { load_origin(); });
  } else {
    session_.store.initialize(config.run.seed, config.model.initializer_range);
  }
  state_.data_fingerprint = loader_->fingerprint();
  state_.threads = at::get_num_threads();
  state_.cpu_capability = at::get_cpu_capability();
}

void TrainRun::load_origin() {
  const config::RunConfig& config = session_.config;
  const std::string directory = config::find_model_directory(config.model.init_from);
  verify_model_directory(directory, {context_.world.rank(), context_.world.size()});
  load_model_directory(directory, config.model, session_.store);
  if (!uses_lora(config)) return;
  base_ = {std::filesystem::weakly_canonical(directory).string(),
           base_fingerprint(directory, config.model)};
  const std::string& adapter = config.finetune.lora.init_from;
  if (adapter.empty()) {
    session_.store.initialize_adapters(config.run.seed);
  } else {
    load_adapter_directory(find_adapter(adapter).value_or(adapter), config, base_, session_.store);
  }
}

void TrainRun::restore(const std::string& step_directory) {
  const RunState saved = load_checkpoint(step_directory, checkpointed());
  if (saved.data_fingerprint != loader_->fingerprint()) {
    throw DataError("data.train: the corpus is not the one that " + step_directory +
                    " was trained on: fingerprint " + loader_->fingerprint() + ", was " +
                    saved.data_fingerprint +
                    "\nhint: bring the old files back, or start a new run.name with "
                    "model.init_from=" +
                    step_directory);
  }
  state_ = saved;
}

void TrainRun::warn_about_machine() {
  const std::string made = ", the checkpoint was made with ";
  std::string threads, cpu;
  if (state_.threads != at::get_num_threads()) {
    threads = "not bitwise: " + std::to_string(at::get_num_threads()) + " threads per rank" + made +
              std::to_string(state_.threads);
  }
  if (state_.cpu_capability != at::get_cpu_capability()) {
    cpu = "not bitwise: this CPU computes with " + at::get_cpu_capability() + made +
          state_.cpu_capability;
  }
  warn_of_any(threads);
  warn_of_any(cpu);
}

void TrainRun::warn_of_any(const std::string& own) {
  const std::vector<std::string> texts = gather_texts(own, context_.world);
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (texts[rank].empty()) continue;
    const std::string where = rank == 0 ? "" : "rank " + std::to_string(rank) + ": ";
    return context_.console.warn(where + texts[rank]);
  }
}

void TrainRun::open_logs() {
  agree(context_.world, [&] {
    if (!context_.first()) return;
    std::filesystem::remove(directory_.done());
    for (const std::string& path : abandon_after(directory_.checkpoints(), state_.step)) {
      context_.console.info("set aside " + path);
    }
    write_file_atomically(directory_.config(), config::dump(session_.config));
    cut_back(directory_.metrics(), state_.step);
    remove_routing_files_after(directory_.routing(), state_.step);
    write_file_atomically(directory_.noise_floor(), to_json(noise_floor_of(session_.config)));
    metrics_.emplace(directory_.metrics());
    if (session_.config.log.tensorboard) {
      tensorboard_.emplace(directory_.tensorboard(), state_.step + 1);
    }
  });
}

void TrainRun::show_start() {
  const bool on_host = session_.device.where.is_cpu();
  const bool bf16 = session_.config.run.precision == config::Precision::kBf16;
  warn_of_any(on_host && bf16 && !multiplies_bf16()
                  ? "run.precision=bf16: this CPU has no bf16 products, steps will be slower than "
                    "in fp32"
                  : "");
  context_.console.info(run_summary(session_.config, session_.topology, at::get_num_threads()));
  show_ranks();
  if (!loader_->packed().empty()) {
    context_.console.info(
        "\n" +
        packing_report(loader_->packed(), session_.config.data.sequence_length,
                       total_tokens(session_.config) / session_.config.data.sequence_length));
  }
  context_.console.info("writing to " + directory_.root);
}

void TrainRun::show_ranks() {
  const std::vector<int64_t> threads = gather_number(at::get_num_threads(), context_.world);
  if (context_.world.size() == 1) return;
  Table table;
  table.section("ranks");
  add_placement_rows(table, context_.placements, threads);
  context_.console.info("\n" + table.text());
  check_nodes();
  const int64_t surplus = context_.ranks_on_cores * at::get_num_threads() -
                          static_cast<int64_t>(own_placement().cores.size());
  const auto crowded = gather_number(threads_placed_by_user() ? 0 : surplus, context_.world);
  for (size_t rank = 0; context_.first() && rank < crowded.size(); ++rank) {
    if (crowded[rank] <= 0) continue;
    context_.console.warn("rank " + std::to_string(rank) + " and those beside it have " +
                          std::to_string(crowded[rank]) +
                          " threads more than cores: give each rank cores of its own (mpirun "
                          "--map-by slot:PE=n), or set run.threads");
    break;
  }
}

/// Fewer ranks than a machine has may be called a node, but not ranks of two machines.
void TrainRun::check_nodes() {
  const auto node = static_cast<size_t>(session_.config.parallel.ranks_per_node);
  const auto& placements = context_.placements;
  for (size_t rank = 0; node > 0 && rank < placements.size(); ++rank) {
    const size_t first = rank - rank % node;
    if (placements[rank].machine == placements[first].machine) continue;
    return context_.console.warn(
        "parallel.ranks_per_node=" + std::to_string(node) + ", but ranks " + std::to_string(first) +
        " and " + std::to_string(rank) + " are on " + placements[first].host + " and " +
        placements[rank].host + ": place consecutive ranks on one host (mpirun --map-by slot)");
  }
}

void TrainRun::show_saved(const std::string& path, double waited, double whole) {
  std::string text = "saved " + path + " in " + human_duration(whole);
  if (session_.config.checkpoint.background) {
    text += ", training waited " + fixed(1e3 * waited, 1) + " ms";
  }
  context_.console.info(text);
}

Checkpointed TrainRun::checkpointed() {
  return {session_.config, session_.store,  optimizer_, session_.topology,
          session_.world,  session_.groups, base_};
}

}  // namespace dsmoe::train
