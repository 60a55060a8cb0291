"""A run from start to end, alone and on ranks: what it leaves behind, and what no layout changes."""
import json
import math
import re
import unittest

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support import SAME_ON_ANY_LAYOUT, CliTest, flatten, metrics, selected

STEPS = 6
KEYS = {
    "step", "tokens", "targets", "loss", "loss_total", "grad_norm", "lr", "seconds", "tokens_per_second",
    "balance.expert", "balance.device", "balance.communication", "balance.z", "balance.complementary",
    "balance.scaled", "load.max_vio", "load.min_vio", "load.avg_vio", "load.cv", "load.entropy", "load.dead", "load.starved",
    "load.device_vio", "load.received_vio", "router.entropy", "router.topk_mass",
    "drop.rate", "drop.tokens", "drop.tokens_lost", "drop.mass", "drop.protected",
    "traffic.devices_per_token", "traffic.ranks_per_token", "traffic.bytes", "traffic.bytes_bound",
    "traffic.metadata_bytes", "traffic.forward_bytes", "traffic.backward_bytes",
    "time.data", "time.forward", "time.backward", "time.communication",
    "time.gradient_sums", "time.optimizer", "time.metrics",
    "memory_bytes", "skipped",
}
LAYER_KEYS = {
    "layer", "balance.expert", "balance.device", "balance.communication", "balance.z", "balance.complementary",
    "balance.scaled",
    "load.max_vio", "load.min_vio", "load.avg_vio", "load.cv", "load.entropy", "load.dead", "load.starved",
    "load.device_vio", "load.received_vio", "router.entropy", "router.topk_mass",
    "drop.rate", "drop.tokens", "drop.tokens_lost", "drop.mass", "traffic.devices_per_token",
}
EVAL_KEYS = {f"eval.held.{key}" for key in ("loss", "perplexity", "bits_per_byte", "tokens", "max_vio", "drop_rate")}
# On the last step, and every log.interference_every before.
INTERFERENCE_KEYS = {"interference.ratio", "interference.cosine"}
# name: ranks, overrides. The pool of two sequences lies on one rank, or spans two.
LAYOUTS = {
    "ep2": (2, ["parallel.expert=2"]),
    "ep2_spanning": (2, ["parallel.expert=2", "batch.micro_sequences=1"]),
    "dp2": (2, ["parallel.expert=1", "batch.micro_sequences=4"]),
    "ep2_dp2": (4, ["parallel.expert=2"]),
    "ep4": (4, ["parallel.expert=4"]),
}
COUNTED = re.compile(r".*(step|tokens|layer|skipped|load\..*|drop\..*|devices_per_token)$")


class TrainTest(CliTest):

    def check_metrics(self, lines):
        self.assertEqual([line["step"] for line in lines], list(range(1, STEPS + 1)))
        for line in lines:
            layers = line.pop("layers", None)
            self.assertEqual(layers is not None, line["step"] % 2 == 0, line)
            interference = INTERFERENCE_KEYS if line["step"] == STEPS else set()
            for layer in layers or []:
                self.assertEqual(set(flatten(layer)), LAYER_KEYS | interference)
            evaluated = line["step"] % 3 == 0
            self.assertEqual(set(flatten(line)), KEYS | interference | (EVAL_KEYS if evaluated else set()))
            self.assertEqual([layer["layer"] for layer in layers or [{"layer": 1}, {"layer": 2}]], [1, 2])
            self.assertEqual(line["tokens"], line["step"] * 8 * 32)
            self.assertTrue(all(math.isfinite(value) for value in flatten(line).values()), line)

    def check_traffic(self, lines, one_rank):
        for line in lines:
            traffic = line["traffic"]
            self.assertEqual(traffic["bytes"], traffic["bytes_bound"] + traffic["metadata_bytes"])
            self.assertEqual(traffic["bytes"], traffic["forward_bytes"] + traffic["backward_bytes"])
            self.assertEqual(traffic["bytes"] == 0, one_rank, traffic)

    def check_files(self, run):
        names = {path.name for path in run.iterdir()}
        self.assertEqual(names, {"config.yaml", "metrics.jsonl", "tb", "log.txt", "checkpoints", "routing",
                                 "noise_floor.json", "DONE"})
        self.assertEqual((run / "checkpoints/latest").read_text().strip(), f"step-{STEPS:08}")
        step = run / "checkpoints" / f"step-{STEPS:08}"
        self.assertLessEqual({"model", "optimizer", "state.json", "manifest.json"},
                             {path.name for path in step.iterdir()})
        self.assertIn("done", (run / "log.txt").read_text())
        self.assertIn("n_routed_experts: 8", (run / "config.yaml").read_text())

    def check_tensorboard(self, run):
        events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0})
        events.Reload()
        seen = {event.step: event.value for event in events.Scalars("train/loss")}
        self.assertEqual(set(seen), set(range(1, STEPS + 1)))
        for line in metrics(run):
            self.assertAlmostEqual(seen[line["step"]], line["loss"], places=5)
        self.assertLessEqual({"balance/expert", "load/max_vio", "drop/rate", "traffic/bytes",
                              "eval/held/loss"}, set(events.Tags()["scalars"]))

    def check_same(self, alone, lines, name):
        for mine, theirs in zip(map(self.invariant, lines), map(self.invariant, alone)):
            self.assertEqual(mine.keys(), theirs.keys())
            for key, value in theirs.items():
                message = f"{name}, step {theirs['step']}, {key}"
                if COUNTED.match(key):
                    self.assertAlmostEqual(mine[key], value, delta=1e-14 * abs(value), msg=message)
                else:
                    self.assertAlmostEqual(mine[key], value, delta=1e-10 * abs(value), msg=message)

    def invariant(self, line):
        return selected(line, SAME_ON_ANY_LAYOUT)

    def test_a_run_leaves_everything_behind_and_no_layout_changes_its_numbers(self):
        run = self.train("alone")
        alone = metrics(run)
        self.check_files(run)
        self.check_tensorboard(run)
        self.check_traffic(alone, one_rank=True)
        self.assertGreater(max(line["drop"]["rate"] for line in alone), 0.01)
        self.assertLess(alone[-1]["loss"], alone[0]["loss"])
        for name, (ranks, overrides) in LAYOUTS.items():
            with self.subTest(layout=name):
                run = self.train(name, *overrides, ranks=ranks)
                lines = metrics(run)
                self.check_files(run)
                self.check_same(alone, lines, name)
                self.check_traffic(lines, one_rank=name == "dp2")
                self.check_metrics(lines)
        self.check_metrics(alone)

    def test_a_curriculum_of_separate_documents_is_the_same_on_two_ranks(self):
        keys = ["data.document_mask=true", "data.stages=[{tokens: 600, weights: {a: 1}}, {weights: {b: 1, a: 1}}]"]
        alone = metrics(self.train("alone", *keys))
        for name, ranks, layout in (("ep2", 2, "parallel.expert=2"), ("dp2", 2, "batch.micro_sequences=4")):
            self.check_same(alone, metrics(self.train(name, *keys, layout, ranks=ranks)), name)
        across = metrics(self.train("across", keys[1]))
        self.assertNotEqual(alone[0]["loss"], across[0]["loss"])
        first = metrics(self.train("first", keys[0], "data.stages=[{weights: {a: 1}}]"))
        # 600 tokens are 19 rows: the third step of 8 has the first five of the second stage.
        self.assertEqual([line["loss"] for line in first[:2]], [line["loss"] for line in alone[:2]])
        self.assertNotEqual(first[2]["loss"], alone[2]["loss"])

    def test_the_bias_evens_the_load_without_a_loss_and_alike_on_any_layout(self):
        keys = ["model.topk_method=noaux_tc", "model.scoring_func=sigmoid", "balance.expert=0", "balance.device=0",
                "balance.communication=0", "schedule.steps=20", "schedule.warmup_steps=0", "optimizer.lr=1e-3"]
        fixed = metrics(self.train("fixed", *keys))
        moved = metrics(self.train("moved", *keys, "balance.bias_rate=0.01"))
        tail = [sum(line["load"]["max_vio"] for line in lines[-5:]) / 5 for lines in (fixed, moved)]
        self.assertLess(tail[1], 0.6 * tail[0])
        split = self.train("split", *keys, "balance.bias_rate=0.01", "parallel.expert=2", ranks=2)
        self.check_same(moved, metrics(split), "ep2")
        bias = load_file(split / "checkpoints/step-00000020/model/model-00001-of-00002.safetensors")
        bias = bias["model.layers.1.mlp.gate.e_score_correction_bias"]
        self.assertTrue(0.01 <= bias.abs().max() <= 0.2001, bias)

    def test_the_routing_files_hold_every_pair_of_their_steps(self):
        run = self.train("routed", "log.routing_every=4", ranks=2, parallel={"expert": 2})
        self.assertEqual(sorted(path.name for path in (run / "routing").iterdir()),
                         ["step-00000004.safetensors", "step-00000006.safetensors"])
        with safe_open(run / "routing/step-00000006.safetensors", "pt") as file:
            values = {name: file.get_tensor(name) for name in file.keys()}
            self.assertEqual(file.metadata(), {"layers": "[1,2]", "domains": '["a","b"]'})
        line = metrics(run)[5]
        tokens, layers = 8 * 32, line["layers"]
        self.assertEqual(values["load"].sum(1).tolist(), [tokens * 3] * 2)
        self.assertTrue(values["domain_load"].sum(0).equal(values["load"]))
        self.assertTrue(values["received"].sum(1).equal(values["sent"].sum(1)))
        self.assertEqual(values["devices_per_token"].sum(1).tolist(), [tokens] * 2)
        for i in range(2):
            load = values["load"][i].double()
            self.assertAlmostEqual(float(load.max() / load.mean() - 1), layers[i]["load"]["max_vio"])
            visits = float((values["devices_per_token"][i] * torch.arange(5)).sum())
            self.assertAlmostEqual(visits / tokens, layers[i]["traffic"]["devices_per_token"])
        floor = json.loads((run / "noise_floor.json").read_text())
        self.assertEqual(floor["tokens"], tokens)
        self.assertEqual(floor.keys() - {"tokens"}, line["load"].keys())

    def test_scopes_of_balance_train_alike_on_any_layout(self):
        for scope in ("pool", "global_batch"):
            keys = [f"balance.scope={scope}", "balance.z=0.001", "batch.pool=4", "schedule.steps=3"]
            alone = metrics(self.train(f"{scope}_alone", *keys, "batch.micro_sequences=4"))
            for name, ranks, layout in (("ep2", 2, "parallel.expert=2"), ("dp2", 2, "batch.micro_sequences=4")):
                run = self.train(f"{scope}_{name}", *keys, layout, ranks=ranks)
                self.check_same(alone, metrics(run), f"{scope} {name}")
                self.check_traffic(metrics(run), one_rank=name == "dp2")

    def test_other_attentions_train_alike_on_any_layout_and_speak(self):
        for kind, keys in (("mha", []), ("gqa", ["model.num_attention_heads=4", "model.num_key_value_heads=2"]),
                           ("mqa", ["model.qk_nope_head_dim=0"])):
            keys = [f"model.attention.kind={kind}", "model.q_lora_rank=null", "schedule.steps=3", *keys]
            run = self.train(f"{kind}_alone", *keys)
            self.check_same(metrics(run), metrics(self.train(f"{kind}_ep2", *keys, "parallel.expert=2", ranks=2)), kind)
            model = run / "checkpoints/step-00000003/model"
            self.assertEqual(json.loads((model / "config.json").read_text())["model_type"], "dsmoe")
            said = self.succeed("generate", "--model", model, "--prompt", "the river", "--max-tokens", 4, "--json").json()
            self.assertTrue(1 <= len(said["token_ids"]) <= 4, said)
            scored = self.succeed("eval", "--model", model, "--data", "corpus/held.jsonl", "--window", 32,
                                  "--json").json()
            self.assertTrue(math.isfinite(scored["loss"]))

    def test_routers_are_varied_alike_on_any_layout(self):
        keys = ["router.jitter=0.2", "schedule.steps=3", "log.interference_every=1"]
        alone = metrics(self.train("noisy", *keys))
        self.check_same(alone, metrics(self.train("noisy_ep2", *keys, "parallel.expert=2", ranks=2)), "ep2")
        plain = metrics(self.train("plain", *keys[1:]))
        self.assertNotEqual(plain[0]["loss"], alone[0]["loss"])
        self.assertEqual(plain[0]["tokens"], alone[0]["tokens"])
        dealt = metrics(self.train("dealt", "router.force_balance=true", "schedule.steps=2", "drop.kind=none"))
        self.assertEqual([line["load"]["max_vio"] for line in dealt], [0, 0])
        self.assertEqual([line["traffic"]["devices_per_token"] for line in dealt], [2, 2])
        self.assertGreater(dealt[-1]["eval"]["held"]["max_vio"], 0)  # evaluation asks the router

    def test_evaluation_tells_what_dropping_would_cost(self):
        both = metrics(self.train("both", "eval.drop=both", "schedule.steps=3"))[-1]["eval"]["held"]
        alone = metrics(self.train("without", "schedule.steps=3"))[-1]["eval"]["held"]
        dropped = metrics(self.train("with", "eval.drop=true", "schedule.steps=3"))[-1]["eval"]["held"]
        self.assertEqual(both.pop("with_drop"), dropped)
        self.assertEqual(both, alone)
        self.assertEqual(alone["drop_rate"], 0)
        self.assertGreater(dropped["drop_rate"], 0)
        self.assertNotEqual(dropped["loss"], alone["loss"])

    def test_a_run_that_is_no_longer_finite_stops(self):
        result = self.dsmoe("train", self.write_config(), "run.name=wild", "optimizer.lr=1e200", "optimizer.clip_norm=0",
                            "schedule.warmup_steps=0", "schedule.steps=20", "optimizer.max_skipped=3")
        self.assertEqual(result.code, 2, result)
        self.assertIn("3 steps in a row were not finite and were skipped (optimizer.max_skipped)", result.err)
        lines = metrics(self.folder / "runs/wild")
        self.assertEqual([line["skipped"] for line in lines[-3:]], [True] * 3)
        self.assertEqual([line["tokens"] for line in lines], [line["step"] * 8 * 32 for line in lines])

    def test_stages_must_reach_the_end_and_the_table_shows_them(self):
        stages = "data.stages=[{tokens: 600, weights: {a: 1}}, {tokens: %d, weights: {b: 3, a: 1}}]"
        config = self.write_config()
        short = self.dsmoe("train", config, "--dry-run", stages % 900)
        self.assertEqual(short.code, 2, short)
        self.assertIn("data.stages: 1500 tokens in all, the run has 1536", short.err)
        table = self.succeed("train", config, "--dry-run", stages % 936).out
        self.assertRegex(table, r"stage 2 +b 75.0%, a 25.0%, from 600 tokens on")

    def test_ranks_per_token_counts_the_ranks_that_a_token_visits(self):
        for drop, fewest in (("none", 1), ("device", 0.9)):
            with self.subTest(drop=drop):
                short = ["schedule.steps=2", f"drop.kind={drop}"]
                alone = metrics(self.train(f"alone_{drop}", *short))
                spread = metrics(self.train(f"spread_{drop}", *short, "parallel.expert=4", ranks=4))
                for one, four in zip(alone, spread):
                    # A token whose pairs were all dropped visits none.
                    self.assertTrue(fewest <= one["traffic"]["ranks_per_token"] <= 1, one)
                    # Four groups on four ranks: a device is a rank.
                    devices = four["traffic"]["devices_per_token"]
                    self.assertEqual(four["traffic"]["ranks_per_token"], devices)
                    self.assertTrue(fewest <= devices <= 2, four)

    def test_what_is_not_asked_for_is_not_written(self):
        run = self.train("bare", "log.tensorboard=false", "data.eval=[]", "drop.kind=none",
                         "schedule.steps=3")
        self.assertFalse((run / "tb").exists())
        for line in metrics(run):
            self.assertNotIn("eval", line)
            self.assertEqual(line["drop"]["rate"], 0)

    def test_greedy_routing_and_dense_models_train(self):
        for name, overrides in {"greedy": ["model.topk_method=greedy"],
                                "plain_query": ["model.q_lora_rank=null"],
                                "float": ["run.precision=fp32"],
                                "ramp": ["batch.ramp_from=2", "batch.ramp_steps=3"]}.items():
            with self.subTest(name):
                lines = metrics(self.train(name, *overrides, "schedule.steps=4"))
                self.assertEqual(len(lines), 4)
                self.assertLess(lines[-1]["loss"], lines[0]["loss"])


if __name__ == "__main__":
    unittest.main()
