"""route: the golden routes, dropping and counts of recorded logits, and what is refused."""
import json
import math
import pathlib
import unittest

import torch
from safetensors.torch import save_file

from support import CliTest, metrics

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/router.json").read_text())
PLAIN = {"model": {**GOLDEN["config"], "moe_intermediate_size": 8, "n_shared_experts": 0}, "drop": {"kind": "none"}}


class RouteTest(CliTest):

    def record(self, logits, **more):
        save_file({"logits": logits, **more}, self.folder / "logits.safetensors")
        return "logits.safetensors"

    def route(self, logits, *overrides, **more):
        config = self.write_config(**PLAIN)
        return self.succeed("route", self.record(logits, **more), config, *overrides, "--json").json()

    def test_the_golden_logits_are_routed_as_worked_out_by_hand(self):
        logits = torch.tensor(GOLDEN["logits"], dtype=torch.float64).unsqueeze(0)
        for case in GOLDEN["cases"]:
            method = case["method"]
            overrides = (["model.topk_method=greedy"] if method == "greedy" else
                         ["model.topk_method=group_limited_greedy",
                          f"model.group_score={'max' if method == 'max' else 'top2_sum'}"])
            with self.subTest(method):
                routed = self.route(logits, *overrides)
                self.assertEqual(routed["experts"], [case["experts"]])
                for mine, theirs in zip(routed["weights"][0], case["weights"]):
                    for a, b in zip(mine, theirs):
                        self.assertAlmostEqual(a, b, delta=1e-14)
                self.assertEqual(routed["counts"]["expert"], case["counts"]["expert"])
                self.assertEqual(routed["counts"]["device"], case["counts"]["device"])
                self.assertEqual(routed["counts"]["visits"], case["counts"]["visits"])
                for name in ("expert", "device", "communication"):
                    self.assertAlmostEqual(routed["loss"][name], case["loss"][name], delta=1e-12)
                z = torch.logsumexp(logits, -1).square().mean().item()
                self.assertAlmostEqual(routed["loss"]["z"], z, delta=1e-12)
                self.assertTrue(all(flag for row in routed["kept"][0] for flag in row))

    def test_dropping_keeps_the_budget_and_never_touches_the_counts(self):
        torch.manual_seed(1)
        logits = torch.randn(4, 32, 8) + torch.linspace(2, 0, 8)
        full = self.route(logits)
        cut = self.route(logits, "drop.kind=device", "drop.protected=0", "batch.pool=1")
        self.assertEqual(full["counts"], cut["counts"])
        kept = torch.tensor(cut["kept"])
        experts = torch.tensor(cut["experts"])
        budget = math.ceil(3 * 32 / 4)
        for sequence in range(4):
            for device in range(4):
                pairs = experts[sequence] // 2 == device
                used = (pairs & kept[sequence]).sum().item()
                self.assertEqual(used, min(budget, pairs.sum().item()))

    def test_a_bias_changes_the_choice_and_not_the_weights(self):
        logits = torch.zeros(1, 1, 8)
        bias = torch.tensor([0, 0, 0, 0, 0, 0, 1.0, 1.0])
        routed = self.route(logits, "model.topk_method=greedy", "model.scoring_func=sigmoid", bias=bias)
        self.assertEqual(routed["experts"], [[[6, 7, 0]]])
        self.assertEqual(routed["weights"], [[[0.5, 0.5, 0.5]]])

    def test_people_get_a_table_beside_the_noise_floor(self):
        config = self.write_config(**PLAIN)
        result = self.succeed("route", self.record(torch.randn(2, 64, 8)), config)
        self.assertRegex(result.out, r"max violation +\d\.\d+ \(by chance \d\.\d+\)")

    def test_recorded_logits_replay_what_the_run_did(self):
        for name, ranks, keys in (("alone", 0, []), ("ep2", 2, ["parallel.expert=2"])):
            run = self.train(name, "run.record_logits=3", "schedule.steps=4", "model.topk_method=noaux_tc",
                             "balance.bias_rate=0.01", *keys, ranks=ranks)
            names = sorted(path.name for path in (run / "logits").iterdir())
            self.assertEqual(names, [f"step-00000003-layer-{layer}.safetensors" for layer in (1, 2)])
            line = metrics(run)[2]
            layers = [self.succeed("route", run / "logits" / file, run / "config.yaml", "--json").json()
                      for file in names]
            for key in ("expert", "device", "communication", "z"):
                mean = sum(layer["loss"][key] for layer in layers) / 2
                self.assertAlmostEqual(mean, line["balance"][key], delta=1e-9 * mean)
            dropped = [1 - torch.tensor(layer["kept"]).double().mean().item() for layer in layers]
            self.assertAlmostEqual(sum(dropped) / 2, line["drop"]["rate"], delta=1e-12)

    def test_logits_that_do_not_fit_are_refused(self):
        config = self.write_config(**PLAIN)
        for logits, pattern in ((torch.zeros(1, 4, 6), r"'logits' is \[1, 4, 6\].*\[sequences, tokens, 8\]"),
                                (torch.zeros(4, 8), r"'logits' is \[4, 8\]"),
                                (torch.full((1, 2, 8), torch.nan), "not finite")):
            result = self.dsmoe("route", self.record(logits), config)
            self.assertEqual(result.code, 2, result)
            self.assertRegex(result.err, pattern)
            self.assertIn("hint:", result.err)
        result = self.dsmoe("route", self.record(torch.zeros(1, 2, 8), bias=torch.zeros(3)), config)
        self.assertRegex(result.err, r"'bias' is \[3\], not \[8\]")
        save_file({"other": torch.zeros(1)}, self.folder / "none.safetensors")
        self.assertEqual(self.dsmoe("route", "none.safetensors", config).code, 2)


if __name__ == "__main__":
    unittest.main()
