#include "trainer/plan_search.h"

#include <algorithm>
#include <set>

#include "configs/errors.h"
#include "modules/layer_slices.h"
#include "modules/model_census.h"
#include "modules/router_variation.h"
#include "parallel/pipeline_timeline.h"
#include "tests/support/catch.h"
#include "trainer/micro_batches.h"
#include "trainer/plan_groups.h"
#include "trainer/plan_hops.h"
#include "trainer/plan_pipeline.h"
#include "trainer/plan_roof.h"

namespace {

namespace train = dsmoe::train;
namespace config = dsmoe::config;
namespace parallel = dsmoe::parallel;

config::RunConfig small_run() {
  config::RunConfig run;
  run.model.n_routed_experts = 8;
  run.model.n_group = 4;
  run.model.topk_group = 2;
  run.model.num_experts_per_tok = 3;
  run.batch = {.sequences = 16, .micro_sequences = 2};
  run.data.sequence_length = 20;
  run.drop.kind = config::DropKind::kNone;
  return run;
}

config::ClusterConfig small_cluster(int64_t nodes, int64_t ranks_per_node) {
  config::ClusterConfig cluster;
  cluster.nodes = nodes;
  cluster.ranks_per_node = ranks_per_node;
  cluster.compute.fp32 = 1e12;
  cluster.memory = {1e12, 1e11, 0};
  cluster.intra_node = {1e10, 0, 0};
  cluster.inter_node = {1e9, 0, 0};
  return cluster;
}

/// Every choice of `k` of `n`, as sets of numbers.
std::vector<std::set<int64_t>> all_choices(int64_t n, int64_t k) {
  std::vector<std::set<int64_t>> all;
  for (int64_t bits = 0; bits < int64_t{1} << n; ++bits) {
    std::set<int64_t> chosen;
    for (int64_t i = 0; i < n; ++i) {
      if ((bits >> i & 1) != 0) chosen.insert(i);
    }
    if (static_cast<int64_t>(chosen.size()) == k) all.push_back(chosen);
  }
  return all;
}

/// Ranks that a token visits, over all choices of groups and of experts in them.
double counted_ranks(const config::ModelConfig& m, int64_t expert_size) {
  const bool limited = m.topk_method != config::TopkMethod::kGreedy;
  const int64_t groups = limited ? m.n_group : 1;
  const int64_t size = m.n_routed_experts / groups, here = m.n_routed_experts / expert_size;
  double visits = 0, count = 0;
  for (const auto& chosen : all_choices(groups, limited ? m.topk_group : 1)) {
    std::vector<int64_t> candidates;
    for (const int64_t g : chosen) {
      for (int64_t e = 0; e < size; ++e) candidates.push_back(g * size + e);
    }
    for (const auto& picked :
         all_choices(static_cast<int64_t>(candidates.size()), m.num_experts_per_tok)) {
      std::set<int64_t> ranks;
      for (const int64_t i : picked) ranks.insert(candidates[static_cast<size_t>(i)] / here);
      visits += static_cast<double>(ranks.size());
      ++count;
    }
  }
  return visits / count;
}

TEST_CASE("expected ranks of a token are the mean over all choices it may make") {
  config::ModelConfig model = small_run().model;
  for (const auto method : {config::TopkMethod::kGroupLimitedGreedy, config::TopkMethod::kGreedy}) {
    model.topk_method = method;
    for (const int64_t ranks : {1, 2, 4, 8}) {
      INFO(ranks);
      CHECK(train::expected_ranks(model, ranks) == Approx(counted_ranks(model, ranks)));
    }
  }
}

/// Calls visit(home, ranks) for every token of a step: where it is, and where its experts are, one
/// each, when they are dealt out. 8 ranks; experts_per_rank of run.model.
template <typename Visit>
void for_each_dealt_token(const config::RunConfig& run, int64_t experts_per_rank, Visit visit) {
  for (int64_t rank = 0; rank < 8; ++rank) {
    const auto own = parallel::make_topology(8, rank, run.parallel.expert, 1);
    const auto cut = train::cut_batch(run, 0, run.batch.sequences);
    for (int64_t i = 0; i < train::num_micro_batches(cut, own); ++i) {
      const auto range = train::micro_batch(cut, own, i);
      dsmoe::nn::RouterVariation dealing{.force_balance = true, .numbers = {}, .keys = {}};
      for (int64_t s = range.begin; s < range.end; ++s) dealing.numbers.push_back(s);
      const int64_t tokens = (range.end - range.begin) * run.data.sequence_length;
      const at::Tensor experts = dsmoe::nn::balanced_experts(tokens, dealing, run.model);
      for (int64_t n = 0; n < tokens; ++n) {
        std::vector<int64_t> ranks;
        for (int64_t k = 0; k < run.model.num_experts_per_tok; ++k) {
          ranks.push_back(experts[n][k].item<int64_t>() / experts_per_rank);
        }
        visit(own.expert_rank(), ranks);
      }
    }
  }
}

/// Of a token of rank `home`, by its choices alone: rows and pairs across nodes, then within.
struct SentByHops {
  int64_t rows_across = 0, pairs_across = 0, rows_within = 0, pairs_within = 0;

  void add(int64_t home, const std::vector<int64_t>& chosen_ranks, int64_t per_node) {
    std::set<int64_t> nodes, ranks;
    for (const int64_t rank : chosen_ranks) {
      if (rank / per_node != home / per_node) {
        nodes.insert(rank / per_node);
        ++pairs_across;
      }
      if (rank % per_node != home % per_node) {
        ranks.insert(rank);
        ++pairs_within;
      }
    }
    rows_across += static_cast<int64_t>(nodes.size());
    rows_within += static_cast<int64_t>(ranks.size());
  }
};

TEST_CASE("with ranks_per_node a row is planned to cross to a node once, and to fan out inside") {
  config::RunConfig run = small_run();
  run.router.force_balance = true;
  run.parallel.expert = 4;
  run.parallel.ranks_per_node = 2;
  const auto topology = parallel::make_topology(8, 0, 4, 1, 2);
  SentByHops sent;
  for_each_dealt_token(
      run, 2, [&](int64_t home, const std::vector<int64_t>& ranks) { sent.add(home, ranks, 2); });
  const train::HeldWeights weights(run);
  const auto traffic = train::plan_traffic(run, topology, weights, 2);
  const int64_t layers = run.model.num_moe_layers(), row = 4 * layers * run.model.hidden_size * 4;
  CHECK(traffic.rows.bytes == row * (sent.rows_across + sent.rows_within));
  CHECK(traffic.rows.between_nodes() == Approx(static_cast<double>(row * sent.rows_across)));
  const int64_t pairs = sent.pairs_across + sent.pairs_within;
  CHECK(traffic.metadata.bytes == layers * (8 * 2 * 8 * (1 + 1) + (8 + 2 * 4) * pairs));
  run.parallel.ranks_per_node = 0;
  const auto flat = train::plan_traffic(run, parallel::make_topology(8, 0, 4, 1), weights, 2);
  CHECK(traffic.rows.between_nodes() < flat.rows.between_nodes());
}

TEST_CASE("on two hops an even router's rows are those of nodes and of ranks") {
  const config::RunConfig run = small_run();
  const auto topology = parallel::make_topology(8, 0, 8, 1, 2);
  const auto hops = train::dispatch_hops(topology);
  REQUIRE(hops.size() == 2);
  const auto across = train::expected_traffic(run.model, topology, hops[0]);
  const auto within = train::expected_traffic(run.model, topology, hops[1]);
  CHECK(across.rows == Approx(counted_ranks(run.model, 4) * 3 / 4));
  CHECK(within.rows == Approx(counted_ranks(run.model, 8) / 2));
  CHECK(across.pairs == Approx(3.0 * 3 / 4));
  CHECK(within.pairs == Approx(3.0 / 2));
  CHECK(train::dispatch_hops(parallel::make_topology(8, 0, 8, 1)).size() == 1);
}

TEST_CASE("where nodes are far apart the best layouts of experts in several send rows to nodes") {
  config::RunConfig run = small_run();
  run.batch.pool = 1;
  config::ClusterConfig cluster = small_cluster(2, 4);
  cluster.inter_node.bandwidth = 1e6;
  const train::Planner planner(run, cluster);
  run.parallel.expert = 8;
  const double flat = planner.plan(run).seconds.exchange;
  run.parallel.ranks_per_node = 4;
  CHECK(planner.plan(run).seconds.exchange < 0.7 * flat);
  const auto ranking = train::rank_layouts(run, planner, 10'000);
  const auto first = std::find_if(ranking.best.begin(), ranking.best.end(),
                                  [](const auto& p) { return p.topology.expert_size == 8; });
  REQUIRE(first != ranking.best.end());
  CHECK(first->config.parallel.ranks_per_node == 4);
}

TEST_CASE(
    "sums that overlap are planned to leave their last bucket or layer, or what is not hidden") {
  config::RunConfig run = small_run();
  config::ClusterConfig cluster = small_cluster(2, 1);
  run.parallel.overlap = false;
  const double whole = train::Planner(run, cluster).plan(run).seconds.gradients;
  run.parallel.overlap = true;
  run.parallel.bucket_mib = 0.001;
  const auto left = [&](double overlap) {
    cluster.compute.overlap = overlap;
    return train::Planner(run, cluster).plan(run).seconds.gradients;
  };
  CHECK(left(0) == Approx(whole));  // nothing computes beside an exchange there
  CHECK(left(1e-3) < whole);
  cluster.compute.fp32 = 1e6;  // a backward pass that hides all
  // A bucket is at least a layer.
  CHECK(left(1) == Approx(whole / static_cast<double>(run.model.num_hidden_layers)));
  run.parallel.bucket_mib = 1000;
  CHECK(left(1) == Approx(whole));
}

TEST_CASE("rows of experts that are dealt out are those that the deal sends") {
  config::RunConfig run = small_run();
  run.router.force_balance = true;
  run.parallel.expert = 4;
  const auto topology = parallel::make_topology(8, 0, 4, 1);
  int64_t rows = 0, pairs = 0;
  for_each_dealt_token(run, 2, [&](int64_t home, const std::vector<int64_t>& ranks) {
    std::set<int64_t> remote;
    for (const int64_t to : ranks) {
      if (to == home) continue;
      remote.insert(to);
      ++pairs;
    }
    rows += static_cast<int64_t>(remote.size());
  });
  const auto traffic = train::plan_traffic(run, topology, train::HeldWeights(run), 4);
  const int64_t layers = run.model.num_moe_layers(), dim = run.model.hidden_size;
  CHECK(traffic.determined);
  CHECK(traffic.rows.bytes == 4 * layers * rows * dim * 4);
  // Two counts to each of 3 peers, of 8 ranks and a micro-batch; an address and twice a weight.
  CHECK(traffic.metadata.bytes == layers * (8 * 2 * 8 * 3 + (8 + 2 * 4) * pairs));
  CHECK(traffic.rows.apart == 0);
  CHECK(train::plan_traffic(run, topology, train::HeldWeights(run), 2).rows.apart ==
        Approx(2.0 / 3));
}

TEST_CASE("groups are placed on nodes by the order of ranks") {
  const auto stride = train::place_groups({2, 4}, 8, 4);  // 0 4, 1 5, 2 6, 3 7
  CHECK(stride.pairs_apart == 1);
  CHECK(stride.ring_apart == 1);
  CHECK(stride.fewest_together == 1);
  const auto spanning = train::place_groups({8, 1}, 8, 4);
  CHECK(spanning.pairs_apart == Approx(4.0 / 7));
  CHECK(spanning.ring_apart == Approx(2.0 / 8));
  CHECK(spanning.fewest_together == 4);
  const auto ragged = train::place_groups({4, 1}, 12, 3);  // 4 to 7 have 4 5 | 6 7, others 3 | 1
  CHECK(ragged.most_apart == 1);
  CHECK(ragged.fewest_together == 1);
  CHECK(train::place_groups({4, 1}, 8, 8).ring_apart == 0);
  CHECK(train::neighbours_apart(4, 8, 4) == 1);
  CHECK(train::neighbours_apart(2, 8, 4) == Approx(2.0 / 6));
}

TEST_CASE("a product takes the longer of arithmetic and memory") {
  config::ClusterConfig cluster = small_cluster(1, 1);
  const train::Roof roof(cluster, config::Precision::kFp32);
  const double large = 2.0 * 1000 * 1000 * 1000 / 1e12;
  CHECK(roof.seconds(train::ProductWork{1000, 1000, 1000}) == Approx(large));
  CHECK(roof.seconds(train::ProductWork{1, 1000, 1000}) == Approx(4 * 1'002'000 / 1e11));
  CHECK(roof.seconds(train::ProductWork{1, 1, 1000, 1, true}) ==
        Approx((4 * 1001 + 8 * 1000) / 1e11));
  cluster.compute.gemm_half_size = 1000;
  CHECK(roof.seconds(train::ProductWork{1000, 1000, 1000}) == Approx(2 * large));
}

TEST_CASE("a measured product corrects the law for shapes like it") {
  config::ClusterConfig cluster = small_cluster(1, 1);
  cluster.compute.products = {{1000, 1000, 1000, 0.004}, {10, 1000, 1000, 0.1}};
  const train::Roof roof(cluster, config::Precision::kFp32);
  CHECK(roof.seconds(train::ProductWork{1000, 1000, 1000}) == Approx(0.004));
  CHECK(roof.seconds(train::ProductWork{2000, 1000, 1000}) == Approx(0.008));
  CHECK(roof.seconds(train::ProductWork{10, 1000, 1000, 3}) == Approx(0.3));
}

TEST_CASE("products of the planner are the model's operations") {
  config::RunConfig run = small_run();
  run.model.q_lora_rank = 24;
  const auto flops = dsmoe::nn::count_layer_flops(run.model, run.data.sequence_length);
  const double tokens = static_cast<double>(run.batch.micro_sequences * run.data.sequence_length);
  const auto sum = [](const train::Work& work) {
    double total = work.attention_forward + work.attention_backward;
    for (const auto& p : work.products) total += 2 * p.m * p.k * p.n * p.count;
    return total;
  };
  for (const int64_t layer : {0, 1}) {
    const auto topology = parallel::make_topology(4, 0, 2, 1);
    const auto work = train::layer_work(run, topology, run.model.is_moe_layer(layer));
    double forward = 0, backward = 0;
    for (const auto* part : {&work.attention, &work.router, &work.beside, &work.experts}) {
      forward += sum(part->forward);
      backward += sum(part->input_gradient) + sum(part->weight_gradient);
    }
    CHECK(forward == Approx(flops[static_cast<size_t>(layer)] * tokens));
    CHECK(backward == Approx(2 * forward));
  }
  CHECK(sum(train::head_work(run).forward) == Approx(3 * flops.back() * tokens));
}

TEST_CASE("a long pipeline is the short one and its slowest stage's further micro-batches") {
  for (const char* schedule : {"gpipe", "1f1b", "zb_h1", "interleaved"}) {
    INFO(schedule);
    train::PlannedPipeline pipeline{schedule, 1, 64, {}, 0.05, 1};
    if (pipeline.schedule == "interleaved") pipeline.chunks = 2;
    for (const double slower : {1.0, 1.1, 1.3, 0.9}) {
      pipeline.costs.push_back({slower, slower, slower});
    }
    const auto whole = parallel::simulate_stages(parallel::schedule_kind(schedule),
                                                 {4, 64, pipeline.chunks}, pipeline.costs, 0.05,
                                                 /*capacity=*/64 * pipeline.chunks);
    CHECK(train::pipeline_time(pipeline).length == Approx(whole.length()).epsilon(0.02));
  }
}

TEST_CASE("ranks that share cores lose to a bubble only what all of them wait") {
  train::PlannedPipeline pipeline{"1f1b", 1, 4, {{1, 1, 1}, {1, 1, 1}}, 0, 1};
  CHECK(train::pipeline_time(pipeline).length == Approx(15));
  pipeline.ranks_per_core = 2;
  CHECK(train::pipeline_time(pipeline).length == Approx(12));  // the work of both stages
}

TEST_CASE("messages delay what waits for them") {
  const parallel::PipelineShape shape{2, 1, 1};
  const std::vector<parallel::PassCosts> costs{{1, 1, 1}, {2, 2, 2}};
  const auto timeline = parallel::simulate_stages(parallel::ScheduleKind::kOneForwardOneBackward,
                                                  shape, costs, /*message=*/0.5);
  CHECK(timeline.length() == Approx(1 + 0.5 + 6 + 0.5 + 2));
}

TEST_CASE("layouts are ranked by speed, and those that do not fit say why") {
  config::RunConfig run = small_run();
  run.batch.pool = 1;
  config::ClusterConfig cluster = small_cluster(2, 3);
  const train::Planner planner(run, cluster);
  const auto ranking = train::rank_layouts(run, planner, 5);
  REQUIRE(ranking.best.size() == 5);
  for (size_t i = 1; i < ranking.best.size(); ++i) {
    CHECK(ranking.best[i - 1].tokens_per_second >= ranking.best[i].tokens_per_second);
  }
  int64_t rejected = 0;
  std::string reasons;
  for (const auto& one : ranking.rejected) {
    rejected += one.count;
    reasons += one.reason + "\n";
  }
  CHECK(rejected + ranking.fitting == ranking.tried);
  CHECK(reasons.find("model.n_routed_experts (8) must be divisible by parallel.expert (") !=
        std::string::npos);
}

TEST_CASE("what needs more memory than a rank has is told with both numbers and the largest kind") {
  const config::RunConfig run = small_run();
  config::ClusterConfig cluster = small_cluster(1, 2);
  cluster.memory.bytes = 100 << 20;  // less than LibTorch itself
  const train::Planner planner(run, cluster);
  const auto ranking = train::rank_layouts(run, planner, 5);
  CHECK(ranking.best.empty());
  bool told = false;
  for (const auto& one : ranking.rejected) {
    told = told ||
           one.reason.find("of 100.0 MiB, most of it data and program: 160") != std::string::npos;
  }
  CHECK(told);
}

TEST_CASE("a precision that the cluster does not have is refused") {
  config::RunConfig run = small_run();
  run.run.precision = config::Precision::kBf16;
  const auto cluster = small_cluster(1, 1);
  CHECK_THROWS_AS(train::Planner(run, cluster), dsmoe::ConfigError);
}

}  // namespace
