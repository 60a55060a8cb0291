#include "configs/fields.h"

namespace dsmoe::config {

Section run_section() {
  const Rows<RunSection> rows{
      row("name", &RunSection::name, text(simple_name()),
          {.meaning = "folder of this run below run.directory",
           .why = "a new name is a new run; the same name resumes"}),
      row("directory", &RunSection::directory, text(not_empty()),
          {.meaning = "where runs are kept, relative to the working directory"}),
      row("seed", &RunSection::seed, integer(at_least(0)),
          {.meaning = "seed of the weights, the data order and the protected sequences"}),
      row("device", &RunSection::device, text(one_of({"cpu", "cuda"})),
          {.meaning = "where the model lives and is computed; routing is decided on the host",
           .why = "cuda: one device a rank, in a build with NCCL; README.md, CUDA"}),
      row("precision", &RunSection::precision,
          choice<Precision>(
              {{"fp32", Precision::kFp32}, {"fp64", Precision::kFp64}, {"bf16", Precision::kBf16}}),
          {.meaning = "number format of the computation; bf16 keeps fp32 master weights",
           .why = "fp64 to compare layouts exactly; bf16 where the CPU has AVX-512 BF16"}),
      row("threads", &RunSection::threads, integer_or("auto", 0, count_from(1)),
          {.meaning = "threads of one rank; auto: the cores it may use / the ranks that share them",
           .unit = "threads"}),
      row("record_logits", &RunSection::record_logits, integer(count_from(0)),
          {.meaning =
               "steps between logits/step-N-layer-L.safetensors, the router's logits; 0: none",
           .unit = "steps",
           .why = "for dsmoe route, which replays other policies on them; 4 bytes a token and "
                  "expert"}),
      row("recompute", &RunSection::recompute, text_list(),
          {.meaning = "what the backward pass computes again instead of keeping it: layer (whole "
                      "layers, of which input and routing are kept), or any of norms, mla_up "
                      "(queries, keys, values), swiglu (dense and shared experts), and experts "
                      "(the routed experts' first product) or moe (all of a MoE layer behind its "
                      "attention, along the routing that is kept)",
           .why = "when activations do not fit; gradients stay the same, bit for bit"}),
      row("resume", &RunSection::resume, text(not_empty()),
          {.meaning = "auto: from the newest checkpoint that verifies; never: from the start; or a "
                      "step directory"}),
      row("allow_change", &RunSection::allow_change, text_list(),
          {.meaning = "keys that may differ from the checkpoint's on resume",
           .why = "a changed model, data, batch, balance, drop, seed or precision is refused "
                  "otherwise"}),
  };
  return make_section("run", "What this run is called, where it leaves files, how it computes.",
                      &RunConfig::run, rows);
}

Section parallel_section() {
  const Rows<ParallelConfig> rows{
      row("expert", &ParallelConfig::expert, integer(count_from(1)),
          {.meaning = "ranks that share the routed experts of a layer",
           .symbol = "EP",
           .unit = "ranks",
           .why = "when the experts do not fit one rank; divides the world"}),
      row("pipeline", &ParallelConfig::pipeline, integer(count_from(1)),
          {.meaning = "ranks that share the layers",
           .symbol = "PP",
           .unit = "ranks",
           .why = "when the layers do not fit one rank; each rank then has some of them, and "
                  "micro-batches go from rank to rank"}),
      row("schedule", &ParallelConfig::schedule,
          text(one_of({"gpipe", "1f1b", "zb_h1", "interleaved"})),
          {.meaning = "in what order a pipeline stage works; see inspect --schedule",
           .why =
               "zb_h1 idles least, since it fills waits with weight gradients, and keeps what they "
               "need; interleaved idles less than 1f1b, and "
               "sends more; gpipe keeps every micro-batch"}),
      row("chunks", &ParallelConfig::chunks, integer(count_from(1)),
          {.meaning = "slices of layers that a stage has, with schedule: interleaved at least 2",
           .unit = "slices"}),
      row("put_off", &ParallelConfig::put_off, number(number_between(0, 1)),
          {.meaning = "with schedule: zb_h1, how many of the weight gradients that the published "
                      "schedule puts off a stage puts off: 1 all, 0 none, which is 1f1b",
           .unit = "share",
           .why = "when late stages need too much memory: what is put off keeps inputs and output "
                  "gradients of all products, which run.recompute does not spare"}),
      row("stage_layers", &ParallelConfig::stage_layers, integer_list(count_from(1)),
          {.meaning = "layers of each stage in order, or of each slice of the interleaved schedule",
           .why = "without it, the costliest slice has as few operations as possible"}),
      row("zero", &ParallelConfig::zero, integer(between(0, 1)),
          {.meaning = "1: ranks with equal parameters share the optimizer's state (ZeRO-1)",
           .why = "when masters and moments, 8 or 12 bytes a parameter, do not fit each rank"}),
      row("overlap", &ParallelConfig::overlap, boolean(),
          {.meaning = "false: rows are waited for at once, not beside the shared experts, and "
                      "gradients are summed after the backward pass, not during it",
           .why = "to see what it is worth; `bench overlap` measures both in one run"}),
      row("bucket_mib", &ParallelConfig::bucket_mib, number(number_inside(0, 1 << 20)),
          {.meaning = "gradients that are summed over ranks at a time while the last backward pass "
                      "goes on",
           .unit = "MiB",
           .why = "small ones begin early, large ones use the links better"}),
      row("ranks_per_node", &ParallelConfig::ranks_per_node, integer(at_least(0)),
          {.meaning =
               "consecutive ranks that share a node: a token crosses to a node once and fans "
               "out inside; 0: straight to the ranks of its experts",
           .unit = "ranks",
           .why = "when parallel.expert spans nodes, whose links are slower than those inside"}),
      row("backend", &ParallelConfig::backend, text(one_of({"auto", "local", "mpi"})),
          {.meaning = "who moves data between ranks; auto: mpi under mpirun, else local"}),
  };
  return make_section("parallel",
                      "The layout of the ranks; data parallel replicas are what remains.",
                      &RunConfig::parallel, rows);
}

Section checkpoint_section() {
  const Rows<CheckpointConfig> rows{
      row("every", &CheckpointConfig::every, integer(count_from(0)),
          {.meaning = "steps between checkpoints; 0: only at the end", .unit = "steps"}),
      row("keep", &CheckpointConfig::keep, integer(count_from(1)),
          {.meaning = "newest checkpoints that are kept", .unit = "checkpoints"}),
      row("background", &CheckpointConfig::background, boolean(),
          {.meaning = "write while training goes on, from a copy of what this rank writes",
           .why =
               "when saving takes long and there is memory for weights, moments and masters once "
               "more; one at a time, and an error ends the run after the next step"}),
      row("permanent_every", &CheckpointConfig::permanent_every, integer(count_from(0)),
          {.meaning = "a checkpoint at a multiple of this is never deleted; 0: none",
           .unit = "steps"}),
  };
  return make_section("checkpoint", "When the run is saved.", &RunConfig::checkpoint, rows);
}

Section log_section() {
  const Rows<LogConfig> rows{
      row("every", &LogConfig::every, integer(count_from(1)),
          {.meaning = "steps between per-layer metrics", .unit = "steps"}),
      row("routing_every", &LogConfig::routing_every, integer(count_from(0)),
          {.meaning =
               "steps between routing/step-N.safetensors, loads per layer and expert; 0: none",
           .unit = "steps",
           .why = "a few KiB each"}),
      row("interference_every", &LogConfig::interference_every, integer(count_from(0)),
          {.meaning = "steps between measurements of how hard the balance losses pull on the "
                      "routers, and against what; 0: none",
           .unit = "steps",
           .why = "a small part of a step each"}),
      row("tensorboard", &LogConfig::tensorboard, boolean(),
          {.meaning = "write TensorBoard event files"}),
  };
  return make_section("log", "What is reported while training.", &RunConfig::log, rows);
}

Section eval_section() {
  const Rows<EvalConfig> rows{
      row("every", &EvalConfig::every, integer(count_from(0)),
          {.meaning = "steps between evaluations; 0: only at the end", .unit = "steps"}),
      row("batches", &EvalConfig::batches, integer(count_from(1)),
          {.meaning = "batches of each source in data.eval", .unit = "batches"}),
      row("drop", &EvalConfig::drop,
          choice<EvalDrop>(
              {{"false", EvalDrop::kNo}, {"true", EvalDrop::kYes}, {"both", EvalDrop::kBoth}}),
          {.meaning = "drop tokens in evaluation as in training, protecting none; both: once "
                      "without and once with",
           .why = "V2 drops none; both tells what dropping would cost"}),
  };
  return make_section("eval", "Held-out evaluation while training.", &RunConfig::eval, rows);
}

}  // namespace dsmoe::config
