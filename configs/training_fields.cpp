#include "configs/fields.h"

namespace dsmoe::config {

Section batch_section() {
  const Rows<BatchConfig> rows{
      row("sequences", &BatchConfig::sequences, integer(count_from(1)),
          {.meaning = "global batch of one step",
           .unit = "sequences",
           .why = "independent of the layout"}),
      row("micro_sequences", &BatchConfig::micro_sequences, integer(count_from(1)),
          {.meaning = "what one rank computes at a time",
           .unit = "sequences",
           .why = "smaller: less memory; the numbers stay the same"}),
      row("pool", &BatchConfig::pool, integer(count_from(1)),
          {.meaning = "consecutive sequences whose tokens compete for a device group's capacity",
           .unit = "sequences",
           .why = "larger: fewer drops; parallel.expert * micro_sequences must be a multiple"}),
      row("ramp_from", &BatchConfig::ramp_from, integer(count_from(0)),
          {.meaning = "global batch of step 1; 0: no ramp",
           .unit = "sequences",
           .why = "V2 went from 2304 to 9216"}),
      row("ramp_steps", &BatchConfig::ramp_steps, integer(count_from(0)),
          {.meaning = "steps over which the batch grows linearly to batch.sequences",
           .unit = "steps"}),
  };
  return make_section("batch", "How many sequences a step takes.", &RunConfig::batch, rows);
}

Section optimizer_section() {
  const Rows<OptimizerConfig> rows{
      row("lr", &OptimizerConfig::lr, number(number_above(0.0)),
          {.meaning = "peak learning rate", .why = "V2 2.4e-4, V2-Lite 4.2e-4; small models more"}),
      row("betas", &OptimizerConfig::betas, number_pair(number_between(0.0, 0.999999)),
          {.meaning = "decay of AdamW's first and second moment"}),
      row("eps", &OptimizerConfig::eps, number(number_above(0.0)),
          {.meaning = "added to the root of the second moment"}),
      row("weight_decay", &OptimizerConfig::weight_decay, number(number_at_least(0.0)),
          {.meaning = "decoupled weight decay"}),
      row("clip_norm", &OptimizerConfig::clip_norm, number(number_at_least(0.0)),
          {.meaning = "largest global gradient norm; 0: no clipping"}),
      row("max_skipped", &OptimizerConfig::max_skipped, integer(count_from(0)),
          {.meaning = "non-finite steps in a row that stop the run", .unit = "steps"}),
  };
  return make_section("optimizer", "AdamW.", &RunConfig::optimizer, rows);
}

Section schedule_section() {
  const Rows<ScheduleConfig> rows{
      row("steps", &ScheduleConfig::steps, integer(count_from(0)),
          {.meaning = "length of the run; this or tokens", .unit = "steps"}),
      row("tokens", &ScheduleConfig::tokens, integer(at_least(0)),
          {.meaning = "length of the run; this or steps", .unit = "tokens"}),
      row("warmup_steps", &ScheduleConfig::warmup_steps, integer(count_from(0)),
          {.meaning = "steps over which the rate grows linearly from 0",
           .unit = "steps",
           .why = "V2: 2000"}),
      row("kind", &ScheduleConfig::kind,
          choice<ScheduleKind>({{"step", ScheduleKind::kStep},
                                {"cosine", ScheduleKind::kCosine},
                                {"linear", ScheduleKind::kLinear},
                                {"constant", ScheduleKind::kConstant},
                                {"wsd", ScheduleKind::kWsd}}),
          {.meaning = "shape of the learning rate after warm-up",
           .why = "step is V2's; wsd (warm-up, stable, decay) when the length is not known"}),
      row("at", &ScheduleConfig::at, number_list(number_inside(0.0, 1.0)),
          {.meaning = "fractions of the run's tokens where the rate falls, ascending; kind step",
           .why = "V2: 0.6 and 0.9"}),
      row("factor", &ScheduleConfig::factor, number(number_above(0.0)),
          {.meaning = "multiplies the rate at each of at; kind step", .why = "V2: 0.316"}),
      row("min_ratio", &ScheduleConfig::min_ratio, number(number_between(0.0, 1.0)),
          {.meaning = "final rate / peak; kinds cosine, linear and wsd"}),
      row("decay_fraction", &ScheduleConfig::decay_fraction, number(number_between(0.0, 1.0)),
          {.meaning = "last part of the run that decays; kind wsd"}),
  };
  return make_section("schedule", "Length of the run and shape of the learning rate.",
                      &RunConfig::schedule, rows);
}

Section balance_section() {
  const Rows<BalanceConfig> rows{
      row("expert", &BalanceConfig::expert, number(number_at_least(0.0)),
          {.meaning = "factor of the expert-level balance loss, V2 (23); 0: no such term",
           .symbol = "alpha_1",
           .why = "V2 0.003, V2-Lite 0.001"}),
      row("device", &BalanceConfig::device, number(number_at_least(0.0)),
          {.meaning = "factor of the device-level balance loss, V2 (26)",
           .symbol = "alpha_2",
           .why = "V2 0.05"}),
      row("communication", &BalanceConfig::communication, number(number_at_least(0.0)),
          {.meaning = "factor of the communication balance loss, V2 (29)",
           .symbol = "alpha_3",
           .why = "V2 0.02"}),
      row("z", &BalanceConfig::z, number(number_at_least(0.0)),
          {.meaning = "factor of the router z-loss, the mean of log(sum exp(logits))^2",
           .why = "ST-MoE and OLMoE 0.001, against logits that grow"}),
      row("complementary", &BalanceConfig::complementary, number(number_at_least(0.0)),
          {.meaning = "factor of V3's sequence-wise loss (17): loads as if without bias and groups",
           .symbol = "alpha",
           .why = "V3 0.0001, beside bias_rate"}),
      row("bias_rate", &BalanceConfig::bias_rate, number(number_at_least(0.0)),
          {.meaning = "step by which the choice's bias of each expert moves against its load",
           .symbol = "gamma",
           .why = "V3 0.001; needs model.topk_method: noaux_tc"}),
      row("scope", &BalanceConfig::scope,
          choice<BalanceScope>({{"sequence", BalanceScope::kSequence},
                                {"pool", BalanceScope::kPool},
                                {"global_batch", BalanceScope::kGlobalBatch}}),
          {.meaning =
               "what a loss is one value of: a sequence, batch.pool of them, or all of a step",
           .why = "V2: sequence; wider scopes let experts specialise. global_batch with several "
                  "micro-batches runs forward twice"}),
      row("count", &BalanceConfig::count,
          choice<BalanceCount>({{"before_drop", BalanceCount::kBeforeDrop},
                                {"after_drop", BalanceCount::kAfterDrop}}),
          {.meaning = "whether dropped pairs count as load",
           .why = "after_drop hides the load that dropping cut off: for studies"}),
      row("communication_rows", &BalanceConfig::communication_rows,
          choice<CommunicationRows>(
              {{"all", CommunicationRows::kAll}, {"remote", CommunicationRows::kRemote}}),
          {.meaning =
               "visits that the communication loss counts; remote: not to the sequence's own "
               "group, its global number mod n_group",
           .why = "a row that stays at home costs nothing"}),
  };
  return make_section("balance", "The balance losses and the bias that can replace them.",
                      &RunConfig::balance, rows);
}

Section router_section() {
  const Rows<RouterConfig> rows{
      row("jitter", &RouterConfig::jitter, number(number_between(0.0, 0.999)),
          {.meaning =
               "noise on the router's input: each number times a draw from 1 - jitter to 1 + "
               "jitter, the same on any layout",
           .symbol = "epsilon",
           .why = "Switch Transformers 0.01, to explore; 0 in the DeepSeek papers"}),
      row("force_balance", &RouterConfig::force_balance, boolean(),
          {.meaning = "deal the experts out in turn, whatever the router says, within topk_group "
                      "groups a token",
           .why = "to measure speed at perfect balance: such a run does not learn to route"}),
  };
  return make_section("router",
                      "What a study may do to the routing of training steps; evaluation is "
                      "untouched.",
                      &RunConfig::router, rows);
}

Section drop_section() {
  const Rows<DropConfig> rows{
      row("kind", &DropConfig::kind,
          choice<DropKind>({{"none", DropKind::kNone},
                            {"device", DropKind::kDevice},
                            {"expert", DropKind::kExpert}}),
          {.meaning =
               "device: a group drops its pairs of lowest affinity above its budget; expert: "
               "each expert does",
           .why = "none for full computation; V2-Lite drops none; expert as in Switch and GShard"}),
      row("capacity", &DropConfig::capacity, number(number_above(0.0)),
          {.meaning = "budget of a group (or expert) / its average load",
           .why = "V2: 1.0; larger drops less and costs balance in time"}),
      row("protected", &DropConfig::protected_fraction, number(number_between(0.0, 1.0)),
          {.meaning = "share of the sequences whose pairs go first",
           .why = "V2: 0.1, so that the model also learns without drops"}),
      row("by", &DropConfig::by,
          choice<DropOrder>(
              {{"affinity", DropOrder::kAffinity}, {"position", DropOrder::kPosition}}),
          {.meaning = "which pairs go first: those of lowest affinity, or the last of the pool",
           .why = "position is what trainers without a ranking do: for studies"}),
  };
  return make_section("drop", "Token dropping, V2 section 2.2.4.", &RunConfig::drop, rows);
}

}  // namespace dsmoe::config
