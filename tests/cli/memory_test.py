"""The memory that a dry run announces is what a process takes at its peak: within 10 % or 32 MB."""
import pathlib
import unittest

from memory_check import MemoryCheck
from support import ROOT, CliTest, merged

NOISE = 48 << 20  # of two peaks, 3 % of the larger: how a heap fills its holes differs between machines

# What is kept for the backward pass outweighs all else, and each mode saves a good deal of it.
KEPT = {
    "run": {"precision": "fp32", "threads": 2},
    "model": {
        "vocab_size": 512, "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 8,
        "intermediate_size": 1024, "q_lora_rank": 128, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 16, "v_head_dim": 32, "n_routed_experts": 8, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "moe_intermediate_size": 256, "n_group": 4, "topk_group": 2,
        "max_position_embeddings": 512},
    "router": {"force_balance": True},
    "data": {"sequence_length": 256, "train": [{"path": "corpus/a.jsonl"}]},
    "drop": {"kind": "none"},
    "batch": {"sequences": 32, "micro_sequences": 32, "pool": 1},
}
# Of which each layer leaves holes.
DEEP = merged(KEPT, {"model": {"num_hidden_layers": 32, "intermediate_size": 256},
                     "batch": {"sequences": 16, "micro_sequences": 16}})


def cpu_has(flag):
    return flag in pathlib.Path("/proc/cpuinfo").read_text()


class MemoryTest(MemoryCheck, CliTest):

    def bench(self, config, *overrides, steps=2):
        """What a step was estimated to take, and took."""
        result = self.succeed("bench", "step", config, "--steps", str(steps), "--json", *overrides).json()
        self.check_memory(result["estimated_bytes"], result["peak_bytes"])
        return result["estimated_bytes"], result["peak_bytes"]

    def bench_shape(self, shape, *overrides, steps=2):
        self.folder = ROOT  # presets are found from the repository's root
        return self.bench(f"configs/bench/{shape}.yaml", *overrides, steps=steps)

    def test_steps_of_the_bench_shapes(self):
        for shape in "acd":
            with self.subTest(shape):
                self.bench_shape(shape)

    def test_what_is_computed_again_is_not_kept(self):
        config = self.write_config("kept.yaml", base=KEPT)
        all_estimated, all_taken = self.bench(config, steps=1)
        for mode in ("norms", "mla_up", "swiglu", "experts", "norms,mla_up,swiglu,experts", "moe", "layer"):
            with self.subTest(mode):
                estimated, taken = self.bench(config, f"run.recompute=[{mode}]", steps=1)
                announced = all_estimated - estimated
                self.assertGreater(announced, all_estimated // 25)
                self.assertGreater(all_taken - taken, announced // 2)
                self.assertLess(abs(all_taken - taken - announced), max(NOISE, announced // 6))

    def test_holes_of_many_layers_are_filled(self):
        deep = self.write_config("deep.yaml", base=DEEP)
        for mode in ("", "mla_up", "moe"):
            with self.subTest(mode):
                self.bench(deep, f"run.recompute=[{mode}]", steps=1)

    def test_what_measuring_interference_holds_of_layers_that_run_again(self):
        deep = self.write_config("deep.yaml", base=DEEP)
        without, measured = (self.bench(deep, "run.recompute=[layer]", f"log.interference_every={every}", steps=1)
                             for every in (0, 1))
        self.assertGreater(measured[0], without[0])
        self.assertGreater(measured[1], without[1])

    def test_what_is_computed_again_in_a_small_shape(self):
        for mode in ("mla_up", "norms,mla_up,swiglu,experts", "layer"):
            with self.subTest(mode):
                self.bench_shape("c", f"run.recompute=[{mode}]")

    @unittest.skipUnless(cpu_has("avx512_bf16"), "bf16 is emulated on this CPU")
    def test_steps_in_bf16(self):
        for shape in "ac":
            with self.subTest(shape):  # with the steps come new shapes, each of which is compiled
                self.bench_shape(shape, "run.precision=bf16", steps=12)


if __name__ == "__main__":
    unittest.main()
