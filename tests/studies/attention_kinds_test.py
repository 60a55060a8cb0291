"""The study of attention kinds compares models of one size that cache differently."""

import contextlib
import unittest

from studies import ROOT

from ablation.plan import plan
from ablation.study import read_study

LAYERS = 4


class AttentionKindsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        with contextlib.chdir(ROOT):
            runs = plan(read_study(ROOT / "configs/studies/attention_kinds.yaml"))
        cls.runs = {run.config["model.attention.kind"]: run for run in runs}
        cls.seeds = {(run.variant, run.seed) for run in runs}

    def test_every_kind_runs_with_three_seeds(self):
        self.assertEqual(self.seeds, {(kind, seed) for kind in ("mha", "gqa", "mqa", "mla") for seed in (1, 2, 3)})
        self.assertEqual({kind: run.variant for kind, run in self.runs.items()}, {kind: kind for kind in self.runs})

    def test_total_and_active_parameters_agree_within_a_hundredth(self):
        for which in ("total", "active"):
            sizes = [run.parameters[which] for run in self.runs.values()]
            self.assertLessEqual(max(sizes), 1.01 * min(sizes), (which, sizes))

    def test_only_the_attention_differs(self):
        attention = ("attention.kind", "num_attention_heads", "num_key_value_heads", "qk_nope_head_dim",
                     "qk_rope_head_dim", "v_head_dim")
        rest = [{key: value for key, value in run.config.items()
                 if key not in {"run.seed", "run.name", "run.directory", *(f"model.{name}" for name in attention)}}
                for run in self.runs.values()]
        self.assertEqual([other for other in rest if other != rest[0]], [])

    def test_the_caches_are_those_of_the_heads_and_of_the_latent(self):
        caches = {kind: run.kv_cache["elements_per_token"] for kind, run in self.runs.items()}
        head = 20 + 20  # a key and a value
        self.assertEqual(caches, {kind: LAYERS * width for kind, width in
                                  {"mha": 4 * head, "gqa": 2 * head, "mla": 48 + 16, "mqa": head}.items()})


if __name__ == "__main__":
    unittest.main()
