#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/eval_set.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "trainer/checkpoint_saver.h"
#include "trainer/command.h"
#include "trainer/metrics.h"
#include "trainer/optimizer.h"
#include "trainer/run_directory.h"
#include "trainer/session.h"
#include "trainer/tensorboard.h"
#include "trainer/train_step.h"

namespace dsmoe::train {

/// One training run from its start, or from where it was left, to its end: what calls train_step
/// and then logs, evaluates and saves. All members are collective over the world.
class TrainRun {
 public:
  /// Opens data, builds the model, resumes or initialises. Throws UserError on every rank.
  TrainRun(const config::RunConfig& config, CommandContext& context);

  /// Runs to the last step, or saves and ends after the step in which SIGUSR1 or SIGTERM came.
  /// Returns the exit code.
  int run();

  /// What came of it, as JSON: `directory`, `checkpoint`, `step`, `tokens`,
  /// `done`, and `last`, the line of metrics.jsonl of the last step taken here, or null.
  [[nodiscard]] std::string outcome() const;

 private:
  int run_steps();
  void open_data();
  void open_eval_sets();
  /// The tokenizer that stands beside model.init_from's weights is the run's.
  void check_origin() const;
  void open_directory();
  /// The checkpoint to go on from, or ""; a warning for each that does not verify.
  std::string find();
  void restore_or_initialize();
  void restore(const std::string& step_directory);
  /// The weights of model.init_from, and adapters beside them as new ones begin.
  void load_origin();
  /// What keeps a resumed run from being bitwise the one that was left; collective.
  void warn_about_machine();
  /// A warning that not every rank may have ("": none): the first of them, once. Collective.
  void warn_of_any(const std::string& own);
  void open_logs();
  void show_start();
  /// Where the ranks run, with how many threads.
  void show_ranks();
  void check_nodes();

  void finish_step(StepReport& report);
  void evaluate_all(StepReport& report);
  void save();
  void log_step(const StepReport& report);
  /// Rank 0's console, metrics and TensorBoard.
  void write_logs(const StepReport& report);
  [[nodiscard]] std::vector<std::string> source_names() const;
  void check_skips();
  /// Whether any rank was asked to stop; collective over world.
  [[nodiscard]] bool stop_agreed();
  int stop();
  [[nodiscard]] double eta_seconds() const;
  [[nodiscard]] Checkpointed checkpointed();
  void show_saved(const std::string& path, double waited, double whole);
  [[nodiscard]] bool due(int64_t every) const;
  [[nodiscard]] bool last_step() const { return state_.step >= total_steps_; }

  CommandContext& context_;
  Session session_;
  RunDirectory directory_;
  std::unique_ptr<data::Tokenizer> tokenizer_;
  Optimizer optimizer_;
  std::unique_ptr<data::Loader> loader_;
  std::vector<std::pair<std::string, data::EvalSet>> eval_sets_;
  std::optional<MetricsFile> metrics_;
  std::optional<TensorBoardWriter> tensorboard_;
  RunState state_;
  AdapterBase base_;
  CheckpointSaver saver_;
  int64_t total_steps_;
  double seconds_per_step_ = 0;
  int64_t saved_step_ = -1;  ///< whose checkpoint is among the run's own
  std::optional<StepReport> last_;
};

}  // namespace dsmoe::train
