"""The memory that a dry run announces is what the process takes at its peak: within 10 % or 32 MB."""
import pathlib
import unittest

from support import ROOT, CliTest, metrics

SLACK = 32 << 20

# Four stages of two layers, as heavy as what they keep.
STAGES = {
    "run": {"precision": "fp32", "threads": 1},
    "model": {
        "vocab_size": 4096, "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
        "intermediate_size": 1536, "q_lora_rank": 192, "kv_lora_rank": 96, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": 16, "n_shared_experts": 1,
        "num_experts_per_tok": 4, "moe_intermediate_size": 256, "n_group": 4, "topk_group": 2,
        "max_position_embeddings": 512},
    "router": {"force_balance": True},
    "data": {"sequence_length": 256, "train": [{"path": "corpus/a.jsonl"}]},
    "drop": {"kind": "none"},
    "batch": {"sequences": 16, "micro_sequences": 4, "pool": 1},
    "parallel": {"pipeline": 4},
}


def cpu_has(flag):
    return flag in pathlib.Path("/proc/cpuinfo").read_text()


class MemoryTest(CliTest):

    def check(self, estimate, peak):
        self.assertLess(abs(peak - estimate), max(SLACK, estimate // 10),
                        f"estimated {estimate / 2**20:.0f} MiB, took {peak / 2**20:.0f}")

    def bench(self, shape, *overrides, steps=2):
        self.folder = ROOT  # presets are found from the repository's root
        result = self.succeed("bench", "step", f"configs/bench/{shape}.yaml", "--steps", str(steps), "--json",
                              *overrides).json()
        self.check(result["estimated_bytes"], result["peak_bytes"])
        return result["peak_bytes"]

    def test_steps_of_the_bench_shapes(self):
        for shape in "acd":
            with self.subTest(shape):
                self.bench(shape)

    def test_what_is_computed_again_is_not_kept(self):
        taken = {}
        for mode in ("", "norms", "mla_up", "swiglu", "experts", "norms,mla_up,swiglu,experts", "layer"):
            with self.subTest(mode):
                taken[mode] = self.bench("c", f"run.recompute=[{mode}]")
        # What 4096 tokens of 4 layers keep of queries, keys and values, and of whole layers.
        self.assertLess(taken["mla_up"], taken[""] - 4 * 1792 * 4 * 4096 // 2)
        self.assertLess(taken["layer"], taken["norms,mla_up,swiglu,experts"])

    @unittest.skipUnless(cpu_has("avx512_bf16"), "bf16 is emulated on this CPU")
    def test_steps_in_bf16(self):
        for shape in "ac":
            with self.subTest(shape):  # with the steps come new shapes, each of which is compiled
                self.bench(shape, "run.precision=bf16", steps=12)

    def test_each_rank_of_a_pipeline(self):
        self.each_rank(4, "parallel.schedule=1f1b")
        self.each_rank(4, "parallel.schedule=zb_h1")
        self.each_rank(4, "parallel.schedule=zb_h1", "run.recompute=[layer]")
        self.each_rank(4, "parallel.schedule=zb_h1", "run.recompute=[norms,mla_up,swiglu]")

    def test_each_rank_where_rows_arrive_from_others(self):
        self.each_rank(2, "parallel.pipeline=1", "parallel.expert=2")
        self.each_rank(4, "parallel.pipeline=2", "parallel.expert=2", "parallel.schedule=zb_h1")

    def each_rank(self, ranks, *overrides):
        with self.subTest(overrides):
            config = self.write_config("stages.yaml", base=STAGES)
            result = self.succeed("bench", "step", config, "--steps", "1", "--json", *overrides, ranks=ranks).json()
            for rank in result["ranks"]:
                self.check(rank["estimated_bytes"], rank["peak_bytes"])

    def test_a_run_of_two_ranks(self):
        self.compare_run()

    def test_a_run_that_saves_beside_training(self):
        self.compare_run("checkpoint.background=true", "checkpoint.every=1")

    def test_a_pipeline_that_runs_layers_again(self):
        self.compare_run("parallel.expert=1", "parallel.pipeline=2", "parallel.schedule=zb_h1", "run.recompute=[layer]")

    def compare_run(self, *overrides):
        model = {"hidden_size": 256, "n_routed_experts": 32, "n_group": 4, "moe_intermediate_size": 256,
                 "num_hidden_layers": 4, "max_position_embeddings": 256}
        changes = {"run": {"precision": "fp32"}, "model": model, "parallel": {"expert": 2},
                   "data": {"sequence_length": 256}, "batch": {"sequences": 16, "micro_sequences": 8, "pool": 1},
                   "schedule": {"steps": 3, "warmup_steps": 1}, "eval": {"every": 0}}
        config = self.write_config("memory.yaml", **changes)
        dry = self.succeed("train", config, *overrides, "--dry-run", "--json", ranks=2).json()
        run = self.train("memory", *overrides, ranks=2, **changes)
        self.check(dry["memory"]["total"], max(line["memory_bytes"] for line in metrics(run)))


if __name__ == "__main__":
    unittest.main()
