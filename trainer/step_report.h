#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dsmoe::train {

/// Raw balance losses, V2 (23), (26), (29) without their factors; 1 at uniform load.
struct BalanceValues {
  double expert = 0;
  double device = 0;
  double communication = 0;
};

/// How unevenly the experts of a layer are used; see load_stats.h.
struct LoadValues {
  double max_vio = 0;
  double cv = 0;
  int64_t dead = 0;
  double device_vio = 0;
};

/// What crossed between ranks. Bytes: sum over ranks, forward and backward, this step.
struct TrafficValues {
  double devices_per_token = 0;
  double ranks_per_token = 0;
  int64_t bytes = 0;
  int64_t bytes_bound = 0;
  int64_t metadata_bytes = 0;
};

/// Seconds of a step by phase; communication also counts within forward and backward.
struct PhaseSeconds {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double communication = 0;
  double optimizer = 0;
};

/// One MoE layer of one step, global batch.
struct LayerReport {
  int64_t layer = 0;  ///< index in the model, dense layers counted
  BalanceValues balance;
  LoadValues load;
  double drop_rate = 0;
  double devices_per_token = 0;
};

/// One named held-out set.
struct EvalReport {
  double loss = 0;  ///< nats per predicted token
  double perplexity = 0;
  double bits_per_byte = 0;                   ///< not-a-number where the tokens stand for no text
  int64_t tokens = 0;                         ///< predicted
  std::map<std::string, EvalReport> domains;  ///< where the documents tell more than one
};

/// What one training step did, the same on every rank. Not-a-number stands for "not measured".
struct StepReport {
  int64_t step = 0;    ///< from 1
  int64_t tokens = 0;  ///< cumulative
  double loss = 0;     ///< LM, nats per target token
  double loss_total = 0;
  double grad_norm = 0;  ///< before clipping
  double lr = 0;
  double seconds = 0;
  double tokens_per_second = 0;
  BalanceValues balance;       ///< mean over layers and sequences
  LoadValues load;             ///< mean over layers; dead: sum
  double drop_rate = 0;        ///< pairs dropped / routed
  double protected_share = 0;  ///< of the batch's sequences, those that nothing is dropped from
  TrafficValues traffic;
  PhaseSeconds time;
  int64_t memory_bytes = 0;
  bool skipped = false;
  std::vector<LayerReport> layers;         ///< every log.every steps, else empty
  std::map<std::string, EvalReport> eval;  ///< on evaluation steps, else empty
};

}  // namespace dsmoe::train
