"""The memory that a dry run announces is what each rank of a layout takes at its peak: within 10 % or 32 MB."""
import unittest

from memory_check import MemoryCheck
from support import CliTest, metrics

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


class MemoryRanksTest(MemoryCheck, CliTest):

    def test_each_rank_of_a_pipeline(self):
        self.each_rank(4, "parallel.schedule=1f1b", "parallel.zero=1")
        self.each_rank(4, "parallel.schedule=interleaved", "parallel.chunks=2")
        self.each_rank(4, "parallel.schedule=zb_h1")
        self.each_rank(4, "parallel.schedule=zb_h1", "run.recompute=[layer]")
        self.each_rank(4, "parallel.schedule=zb_h1", "run.recompute=[norms,mla_up,swiglu]")
        self.each_rank(4, "parallel.schedule=zb_h1", "run.recompute=[layer]", "parallel.put_off=0.5")

    def test_each_rank_where_rows_arrive_from_others(self):
        self.each_rank(2, "parallel.pipeline=1", "parallel.expert=2", "parallel.zero=1")
        self.each_rank(4, "parallel.pipeline=2", "parallel.expert=2", "parallel.schedule=zb_h1")

    def each_rank(self, ranks, *overrides):
        with self.subTest(overrides):
            config = self.write_config("stages.yaml", base=STAGES)
            result = self.succeed("bench", "step", config, "--steps", "1", "--json", *overrides, ranks=ranks).json()
            for rank in result["ranks"]:
                self.check_memory(rank["estimated_bytes"], rank["peak_bytes"])

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
        self.check_memory(dry["memory"]["total"], max(line["memory_bytes"] for line in metrics(run)))


if __name__ == "__main__":
    unittest.main()
