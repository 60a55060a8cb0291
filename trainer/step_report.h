#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dsmoe::train {

/// Raw balance losses without their factors: V2 (23), (26), (29), 1 at uniform load; the router
/// z-loss; V3's complementary loss, measured only where balance.complementary is set.
struct BalanceValues {
  double expert = 0;
  double device = 0;
  double communication = 0;
  double z = 0;
  double complementary = 0;
};

/// How unevenly the experts of a layer are used; see load_stats.h.
struct LoadValues {
  double max_vio = 0;
  double min_vio = 0;
  double avg_vio = 0;
  double cv = 0;
  double entropy = 0;
  int64_t dead = 0;
  int64_t starved = 0;
  double device_vio = 0;
  double received_vio = 0;  ///< MaxVio of the rows that device groups receive
};

/// How sure the router is, means over tokens.
struct RouterValues {
  double entropy = 0;    ///< of the affinities over ln E; 1: undecided
  double topk_mass = 0;  ///< sum of the chosen affinities
};

/// The balance losses' gradient on a layer's router weights, beside the rest of the gradient there.
struct InterferenceValues {
  double ratio = 0;   ///< of the norms
  double cosine = 0;  ///< between the two; negative: the losses pull against the rest
};

/// What dropping took.
struct DropValues {
  double rate = 0;         ///< of the routed pairs
  double tokens = 0;       ///< tokens that lost a pair
  double tokens_lost = 0;  ///< tokens that lost all
  double mass = 0;         ///< of the chosen affinities' sum
};

/// What crossed between ranks. Bytes: sum over ranks, forward and backward, this step.
struct TrafficValues {
  double devices_per_token = 0;
  double ranks_per_token = 0;
  int64_t bytes = 0;
  int64_t forward_bytes = 0;
  int64_t backward_bytes = 0;
  int64_t bytes_bound = 0;
  int64_t metadata_bytes = 0;
  // Of a dispatch's exchanges, with parallel.ranks_per_node.
  std::optional<int64_t> inter_node_bytes{};
  std::optional<int64_t> intra_node_bytes{};
};

/// Seconds of a step by phase, on rank 0; communication also counts within forward and backward,
/// and is beside them what a pipeline's stage waits for its neighbours.
struct PhaseSeconds {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double communication = 0;
  double optimizer = 0;
  double gradient_sums = 0;  ///< what the sums of gradients held the calculation up for
  double metrics = 0;        ///< counting what the step did
};

/// One MoE layer of one step, global batch.
struct LayerReport {
  int64_t layer = 0;  ///< index in the model, dense layers counted
  BalanceValues balance;
  double balance_scaled = 0;  ///< what the factors make of them: this layer's part of loss_total
  LoadValues load;
  RouterValues router;
  DropValues drop;
  double devices_per_token = 0;
  std::optional<InterferenceValues> interference{};  ///< every log.interference_every steps
  // Counts of the step; E experts, D device groups. Pairs before dropping, rows after it.
  std::vector<int64_t> pairs;         ///< chosen pairs per expert, E
  std::vector<int64_t> received;      ///< rows per device group: a token counts once a group, D
  std::vector<int64_t> sent;          ///< the same by the group of the sequence's number mod D, D
  std::vector<int64_t> devices;       ///< tokens by the groups they visit, D + 1
  std::vector<int64_t> source_pairs;  ///< pairs per source of data.train and expert, row-major
};

/// Tokens predicted from the inputs at positions [from, to) of their windows: how far the model
/// makes use of what it has read.
struct PositionLoss {
  int64_t from = 0;
  int64_t to = 0;
  double loss = 0;     ///< nats per predicted token
  int64_t tokens = 0;  ///< predicted, at least 1
};

/// One named held-out set.
struct EvalReport {
  double loss = 0;  ///< nats per predicted token
  double perplexity = 0;
  double bits_per_byte = 0;                     ///< not-a-number where the tokens stand for no text
  int64_t tokens = 0;                           ///< predicted
  double max_vio = 0;                           ///< of the whole set's loads, mean over layers
  double drop_rate = 0;                         ///< of the routed pairs
  double specialisation = 0;                    ///< see load_stats.h; of several domains
  std::map<std::string, EvalReport> domains{};  ///< where the documents tell more than one
  std::vector<EvalReport> with_drop{};          ///< one, where eval.drop is both
  std::vector<PositionLoss> positions{};        ///< where asked for; stretches with a target
};

/// What one training step did, the same on every rank. Not-a-number stands for "not measured".
struct StepReport {
  int64_t step = 0;    ///< from 1
  int64_t tokens = 0;  ///< cumulative
  double targets = 0;  ///< predicted in this step, each as often as it counts
  double loss = 0;     ///< LM, nats per target token
  double loss_total = 0;
  double grad_norm = 0;  ///< before clipping
  double lr = 0;
  double seconds = 0;
  double tokens_per_second = 0;
  BalanceValues balance;       ///< mean over layers and sequences
  LoadValues load;             ///< mean over layers; dead, starved: sum
  RouterValues router;         ///< mean over layers
  DropValues drop;             ///< mean over layers
  double protected_share = 0;  ///< of the batch's sequences, those that nothing is dropped from
  std::optional<InterferenceValues> interference{};  ///< of all routers as one vector
  TrafficValues traffic;
  PhaseSeconds time;
  int64_t memory_bytes = 0;
  bool skipped = false;
  std::vector<LayerReport> layers;         ///< every log.every steps, else empty
  std::map<std::string, EvalReport> eval;  ///< on evaluation steps, else empty
};

}  // namespace dsmoe::train
