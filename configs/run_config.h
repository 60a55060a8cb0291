#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "configs/data_config.h"
#include "configs/finetune_config.h"
#include "configs/model_config.h"

namespace dsmoe::config {

enum class Precision { kFp32, kFp64, kBf16 };
enum class ScheduleKind { kStep, kCosine, kLinear, kConstant, kWsd };
enum class BalanceScope { kSequence, kPool, kGlobalBatch };
enum class BalanceCount { kBeforeDrop, kAfterDrop };
enum class CommunicationRows { kAll, kRemote };
enum class DropKind { kNone, kDevice, kExpert };
enum class DropOrder { kAffinity, kPosition };
enum class EvalDrop { kNo, kYes, kBoth };

/// run: what this run is called, where it leaves its files, how it computes.
struct RunSection {
  std::string name = "run";
  std::string directory = "runs";
  int64_t seed = 1;
  std::string device = "cpu";
  Precision precision = Precision::kFp32;
  int64_t threads = 0;                    ///< per rank; 0: auto = cores of this host / ranks on it
  std::vector<std::string> recompute{};   ///< layer | norms, mla_up, swiglu, experts or moe
  int64_t record_logits = 0;              ///< steps; 0: none
  std::string resume = "auto";            ///< auto | never | a step directory
  std::vector<std::string> allow_change;  ///< dotted keys that may differ on resume

  bool operator==(const RunSection&) const = default;
};

/// parallel: the layout. world = pipeline * expert * replicas; replicas is what remains.
struct ParallelConfig {
  int64_t expert = 1;
  int64_t pipeline = 1;
  std::string schedule = "1f1b";        ///< gpipe | 1f1b | zb_h1 | interleaved
  int64_t chunks = 1;                   ///< slices of layers a stage, interleaved
  double put_off = 1;                   ///< share of weight gradients, zb_h1
  std::vector<int64_t> stage_layers{};  ///< of each slice; none: balanced
  int64_t zero = 0;
  int64_t ranks_per_node = 0;    ///< 0: rows go straight to the ranks of their experts
  bool overlap = true;           ///< communication beside calculation
  double bucket_mib = 25;        ///< gradients summed at a time, with overlap
  std::string backend = "auto";  ///< auto | local | mpi

  bool operator==(const ParallelConfig&) const = default;
};

/// batch: the global batch, what one rank takes at a time, and the pool of device-level dropping.
struct BatchConfig {
  int64_t sequences = 64;
  int64_t micro_sequences = 8;
  int64_t pool = 1;
  int64_t ramp_from = 0;   ///< sequences at step 1; 0: no ramp
  int64_t ramp_steps = 0;  ///< steps over which the batch grows linearly to `sequences`

  /// Whether a pool can lie on several of the ranks that share experts.
  [[nodiscard]] bool pools_span(int64_t ranks) const {
    return ranks > 1 && micro_sequences % pool != 0;
  }

  bool operator==(const BatchConfig&) const = default;
};

struct OptimizerConfig {
  double lr = 2.0e-3;
  std::pair<double, double> betas{0.9, 0.95};
  double eps = 1.0e-8;
  double weight_decay = 0.1;
  double clip_norm = 1.0;    ///< 0: no clipping
  int64_t max_skipped = 10;  ///< non-finite steps in a row that stop the run

  bool operator==(const OptimizerConfig&) const = default;
};

/// schedule: length in steps or in tokens (exactly one is non-zero), and the learning rate's shape.
struct ScheduleConfig {
  int64_t steps = 0;
  int64_t tokens = 0;
  int64_t warmup_steps = 0;
  ScheduleKind kind = ScheduleKind::kStep;
  std::vector<double> at{0.6, 0.9};  ///< fractions of the run's tokens, kind: step
  double factor = 0.316;             ///< multiplies the rate at each of `at`
  double min_ratio = 0.0;            ///< final rate / peak, kinds cosine, linear and wsd
  double decay_fraction = 0.2;       ///< the last part of the run that decays, kind: wsd

  bool operator==(const ScheduleConfig&) const = default;
};

/// balance: alpha_1, alpha_2, alpha_3 of V2 (23), (26), (29), and what may be studied beside them.
struct BalanceConfig {
  double expert = 0.003;
  double device = 0.05;
  double communication = 0.02;
  double z = 0.0;
  double complementary = 0.0;
  double bias_rate = 0.0;
  BalanceScope scope = BalanceScope::kSequence;
  BalanceCount count = BalanceCount::kBeforeDrop;
  CommunicationRows communication_rows = CommunicationRows::kAll;

  bool operator==(const BalanceConfig&) const = default;
};

/// router: what a study may do to the routing of training steps; evaluation is untouched.
struct RouterConfig {
  double jitter = 0.0;
  bool force_balance = false;

  bool operator==(const RouterConfig&) const = default;
};

/// drop: device-level token dropping, V2 section 2.2.4, or a capacity of each expert.
struct DropConfig {
  DropKind kind = DropKind::kDevice;
  double capacity = 1.0;
  double protected_fraction = 0.1;  ///< key: protected
  DropOrder by = DropOrder::kAffinity;

  bool operator==(const DropConfig&) const = default;
};

struct CheckpointConfig {
  int64_t every = 500;  ///< steps; 0: only at the end
  int64_t keep = 2;
  bool background = false;  ///< written beside training, from a copy
  int64_t permanent_every = 0;

  bool operator==(const CheckpointConfig&) const = default;
};

struct LogConfig {
  int64_t every = 10;
  int64_t routing_every = 100;       ///< steps; 0: no routing/ files
  int64_t interference_every = 100;  ///< steps; 0: not measured
  bool tensorboard = true;

  bool operator==(const LogConfig&) const = default;
};

struct EvalConfig {
  int64_t every = 250;  ///< steps; 0: only at the end
  int64_t batches = 20;
  EvalDrop drop = EvalDrop::kNo;

  bool operator==(const EvalConfig&) const = default;
};

/// Everything that was asked for, resolved: every default stands here as a value.
struct RunConfig {
  RunSection run;
  ModelConfig model;
  FinetuneConfig finetune;
  ParallelConfig parallel;
  DataConfig data;
  BatchConfig batch;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  BalanceConfig balance;
  RouterConfig router;
  DropConfig drop;
  CheckpointConfig checkpoint;
  LogConfig log;
  EvalConfig eval;

  bool operator==(const RunConfig&) const = default;
};

/// What a key of `dsmoe finetune` is where nothing says otherwise: conversations whole in their
/// rows, no balance losses and no dropping, as the released practice (V2 section 4.1).
[[nodiscard]] RunConfig finetune_defaults();

}  // namespace dsmoe::config
