"""Fine-tuning: conversations in, a model or an adapter out; whole, experts only, low-rank; and what is refused."""
import json
import re
import shutil
import unittest

import yaml
from support import (ROOT, SAME_ON_ANY_LAYOUT, CliTest, documents, exact, files_below, flatten, metrics, selected,
                     step_directory)

STEPS = 4
TUNING = {
    "run": {"directory": "runs", "threads": 1, "precision": "fp32"},
    "data": {"sequence_length": 96, "held_out": 0.2,
             "train": [{"path": "chat.jsonl", "name": "chat"}]},
    "batch": {"sequences": 4, "micro_sequences": 2},
    "optimizer": {"lr": 3e-3, "weight_decay": 0.1},
    "schedule": {"steps": STEPS, "kind": "constant"},
    "checkpoint": {"every": 2},
    "eval": {"every": 2, "batches": 2},
}
LORA = ["finetune.method=lora", "finetune.lora.rank=4"]
ESFT = ["finetune.method=esft", "finetune.esft.top_p=0.3", "finetune.esft.sample_tokens=1000"]


def conversations(count):
    """Questions about made-up sentences, every third with a second turn."""
    rows = []
    for i, text in enumerate(documents(5, count)):
        words = text.split()
        messages = [{"role": "user", "content": f"{i} {words[0]}?"},
                    {"role": "assistant", "content": " ".join(words[1:4])}]
        if i % 3 == 0:
            messages += [{"role": "user", "content": "More."}, {"role": "assistant", "content": words[-1]}]
        rows.append({"messages": messages})
    return rows


class FinetuneTest(CliTest):

    def setUp(self):
        super().setUp()
        self.write_rows(conversations(60))
        self.base = step_directory(self.train("base", "run.precision=fp32", "schedule.steps=2"), 2)

    def write_rows(self, rows, name="chat.jsonl"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def finetune(self, name, *overrides, ranks=0, **changes):
        config = self.write_config(f"{name}.yaml", TUNING, **changes)
        result = self.dsmoe("finetune", config, f"run.name={name}", f"model.init_from={self.base}", *overrides,
                            ranks=ranks)
        self.assertEqual(result.code, 0, result)
        return self.folder / "runs" / name, result.out

    def refuse(self, *overrides, pattern, **changes):
        config = self.write_config("wrong.yaml", TUNING, **changes)
        result = self.dsmoe("finetune", config, "run.name=wrong", f"model.init_from={self.base}", *overrides)
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, pattern)
        self.assertEqual(len(re.findall("^hint: ", result.err, re.MULTILINE)), 1, result.err)
        self.assertFalse((self.folder / "runs/wrong/metrics.jsonl").exists())

    def loss(self, model, *options):
        return self.succeed("eval", "--model", model, "--data", "corpus/held.jsonl", "--window", 32, "--json",
                            *options).json()["loss"]

    # What is learned.

    def test_a_run_learns_answers_and_counts_what_it_read(self):
        run, out = self.finetune("full", "schedule.steps=12")
        lines = metrics(run)
        self.assertLess(lines[-1]["loss"], lines[0]["loss"] - 0.5)
        self.assertLess(lines[-1]["targets"], 4 * 96)
        self.assertIn("chat", lines[-1]["eval"])
        self.assertRegex(out, r"chat +\d+ samples, [\d,]+ tokens, [\d,]+ of them targets \(\d")
        self.assertRegex(out, r"held out +\d+ samples")
        self.assertRegex(out, r"rows +\d+ of 96, \d\d\.\d% full")
        self.assertEqual(lines[0]["loss_total"], lines[0]["loss"])
        self.assertEqual(lines[0]["drop"]["rate"], 0)
        config = yaml.safe_load((run / "config.yaml").read_text())
        self.assertEqual(config["balance"]["expert"], 0)
        self.assertEqual(config["drop"]["kind"], "none")

    def test_samples_show_what_is_learned(self):
        config = self.write_config("show.yaml", TUNING)
        out = self.succeed("finetune", config, f"model.init_from={self.base}", "--show", 3).out
        self.assertEqual(out.count("--- sample"), 3)
        self.assertRegex(out, r"<bos>User: \d+ \w+\?\n\nAssistant:« [^»]+<eos>»")
        self.assertFalse((self.folder / "runs/run").exists())

    def test_three_shapes_of_rows_and_other_names_read_alike(self):
        turns = [("one", "two"), ("three", "four")]
        self.write_rows([{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
                         for q, a in turns], "m.jsonl")
        (self.folder / "a.json").write_text(json.dumps([{"instruction": q, "input": "", "output": a}
                                                        for q, a in turns]))
        self.write_rows([{"talk": [{"who": "me", "says": q}, {"who": "it", "says": a}]} for q, a in turns], "s.jsonl")
        columns = {"columns": {"messages": "talk"},
                   "tags": {"role": "who", "content": "says", "user": "me", "assistant": "it"}}
        losses = []
        for path, extra in (("m.jsonl", {}), ("a.json", {}), ("s.jsonl", columns)):
            run, _ = self.finetune(path[0], data={"held_out": 0.0, "train": [{"path": path, "name": "x"} | extra]})
            losses.append([line["loss"] for line in metrics(run)])
        self.assertEqual(losses[0], losses[1])
        self.assertEqual(losses[0], losses[2])

    # Any layout, any stop.

    def check_layouts(self, *overrides):
        alone, _ = self.finetune("alone", "run.precision=fp64", *overrides)
        shared, _ = self.finetune("shared", "run.precision=fp64", "parallel.expert=2", *overrides, ranks=2)
        for ours, theirs in zip(metrics(shared), metrics(alone)):
            expected = selected(theirs, SAME_ON_ANY_LAYOUT)
            for key, value in expected.items():
                self.assertAlmostEqual(flatten(ours)[key], value, delta=1e-9 * max(abs(value), 1e-3), msg=key)

    def test_expert_tuning_is_the_same_on_two_ranks(self):
        self.check_layouts(*ESFT)
        choices = [(self.folder / f"runs/{name}/esft.yaml").read_text() for name in ("alone", "shared")]
        self.assertEqual(*choices)

    def test_adapters_are_the_same_on_two_ranks(self):
        self.check_layouts(*LORA)

    def check_resume(self, name, *overrides):
        whole, _ = self.finetune("whole", *overrides)
        run, _ = self.finetune(name, *overrides)
        shutil.rmtree(step_directory(run, STEPS))
        (run / "DONE").unlink()
        _, out = self.finetune(name, *overrides)
        self.assertIn("resumed from", out)
        self.assertEqual(exact(run), exact(whole))
        ours, theirs = files_below(step_directory(run, STEPS)), files_below(step_directory(whole, STEPS))
        for file in ours.keys() - {"config.yaml", "manifest.json"}:
            self.assertEqual(ours[file], theirs[file], file)

    def test_a_stopped_adapter_run_goes_on_bitwise(self):
        self.check_resume("lora", *LORA)

    def test_a_stopped_bf16_adapter_run_goes_on_bitwise(self):
        self.check_resume("lora", "run.precision=bf16", *LORA)

    def test_a_stopped_run_with_dropout_goes_on_bitwise(self):
        self.check_resume("lora", *LORA, "finetune.lora.target=[attention, head]",
                          "finetune.lora.dropout=0.2")
        run, _ = self.finetune("without", *LORA, "finetune.lora.target=[attention, head]")
        configs = [json.loads((step_directory(self.folder / "runs" / name, STEPS) / "adapter/adapter_config.json")
                              .read_text()) for name in ("lora", "without")]
        self.assertEqual([config["lora_dropout"] for config in configs], [0.2, 0.0])
        self.assertEqual(configs[0]["target_parameters"], [])  # peft has no dropout there
        self.assertIn("lm_head", configs[0]["target_modules"])
        losses = [metrics(self.folder / "runs" / name)[-1]["loss"] for name in ("lora", "without")]
        self.assertNotEqual(*losses)

    def test_a_stopped_expert_run_goes_on_bitwise_with_its_choice(self):
        self.check_resume("esft", *ESFT)

    # What is trained.

    def test_frozen_weights_stay_and_have_no_state(self):
        run, out = self.finetune("frozen", "finetune.freeze=[embeddings, router, 'model.layers.0.*']")
        self.assertRegex(out, r"embeddings +frozen \([\d,]+\)")
        before, after = self.tensors(self.base / "model"), self.tensors(step_directory(run, STEPS) / "model")
        frozen = [n for n in before if "embed_tokens" in n or ".gate." in n or "layers.0." in n]
        self.assertTrue(frozen)
        for name in before:
            self.assertEqual(bool((before[name] == after[name]).all()), name in frozen, name)
        state = self.tensors(step_directory(run, STEPS) / "optimizer")
        self.assertFalse([n for n in state if any(n.endswith(f) for f in frozen)])
        self.assertEqual(len(state), 2 * (len(before) - len(frozen)))

    def test_only_chosen_experts_change(self):
        run, _ = self.finetune("esft", *ESFT)
        choice = yaml.safe_load((run / "esft.yaml").read_text())["layers"]
        self.assertEqual(sorted(choice), [1, 2])
        before, after = self.tensors(self.base / "model"), self.tensors(step_directory(run, STEPS) / "model")
        for name in before:
            found = re.search(r"layers\.(\d)\.mlp\.experts\.(\d)\.", name)
            chosen = bool(found) and int(found[2]) in choice[int(found[1])]["train"]
            same = bool((before[name] == after[name]).all())
            if not chosen:
                self.assertTrue(same, name)

    def test_scores_are_written_for_editing_and_taken_back(self):
        config = self.write_config("score.yaml", TUNING)
        arguments = (config, "run.name=score", f"model.init_from={self.base}", *ESFT)
        out = self.succeed("finetune", *arguments, "--score-only").out
        path = self.folder / "runs/score/esft.yaml"
        self.assertIn("finetune.esft.experts=runs/score/esft.yaml", out)
        self.assertFalse((self.folder / "runs/score/metrics.jsonl").exists())
        told = self.succeed("finetune", *arguments, "--score-only", "--json").json()
        choice = yaml.safe_load(path.read_text())
        self.assertEqual(told, {"experts": "runs/score/esft.yaml", "tokens": choice["tokens"]})
        for layer in choice["layers"].values():
            self.assertAlmostEqual(sum(layer["scores"]), 1.0, delta=1e-3)
            self.assertGreaterEqual(layer["reached"], 0.3)
            best = sorted(layer["scores"], reverse=True)[:len(layer["train"])]
            self.assertEqual([layer["scores"][e] for e in layer["train"]], best)
        choice["layers"] = {2: {"train": [5]}}
        path.write_text(yaml.safe_dump(choice))
        run, out = self.finetune("edited", "finetune.method=esft", f"finetune.esft.experts={path}")
        self.assertRegex(out, rf"routed_experts +{3 * 32 * 12:,} of {16 * 3 * 32 * 12:,}")

    def test_rates_are_multiplied_by_pattern(self):
        _, out = self.finetune("rates", "finetune.lr_multipliers={router: 0.5, norms: 0.25}")
        self.assertRegex(out, r"router +\d+, learning rate times 0.5")

    def test_every_recipe_is_shown_without_a_trace(self):
        recipes = sorted((ROOT / "configs/finetune").glob("*.yaml"))
        self.assertGreaterEqual(len(recipes), 3)
        for recipe in recipes:
            with self.subTest(recipe.name):
                out = self.succeed("finetune", recipe, f"model.init_from={self.base}", "--dry-run",
                                   "data.sequence_length=96", "run.directory=dry").out
                self.assertIn("memory per rank", out)
                self.assertFalse((self.folder / "dry").exists())

    def test_an_extended_context_is_written_down(self):
        overrides = ["model.max_position_embeddings=256", "data.sequence_length=192",
                     "model.rope_scaling={factor: 2, original_max_position_embeddings: 128}"]
        run, _ = self.finetune("longer", *overrides)
        model = step_directory(run, STEPS) / "model"
        values = json.loads((model / "config.json").read_text())
        self.assertEqual(values["max_position_embeddings"], 256)
        self.assertEqual((values["rope_scaling"]["type"], values["rope_scaling"]["factor"]), ("yarn", 2))
        self.assertEqual(values["rope_scaling"]["original_max_position_embeddings"], 128)
        (self.folder / "long.txt").write_text(" ".join(documents(8, 40)))
        report = self.succeed("eval", "--model", model, "--data", "long.txt", "--window", 256, "--by-position", 64,
                              "--json").json()
        self.assertEqual([one["to"] for one in report["positions"]], [64, 128, 192, 256])

    # Adapters.

    def test_an_adapter_evaluates_generates_and_merges_alike(self):
        run, out = self.finetune("lora", *LORA)
        self.assertRegex(out, r"attention +[\d,]+ of [\d,]+")
        step = step_directory(run, STEPS)
        self.assertEqual(sorted(p.name for p in (step / "adapter").iterdir()),
                         ["adapter_config.json", "adapter_model.safetensors"])
        self.assertFalse((step / "model").exists())
        self.succeed("export", step, "merged")
        adapted, merged = self.loss(step), self.loss("merged")
        self.assertAlmostEqual(adapted, merged, delta=1e-6)
        answers = self.succeed("eval", "--model", "merged", "--data", "chat.jsonl", "--window", 96, "--json").json()
        rows = conversations(60)
        learned = sum(len(m["content"].encode()) + 2 for row in rows for m in row["messages"]
                      if m["role"] == "assistant")  # a blank before each answer, EOS behind it
        self.assertEqual(answers["tokens"], learned)
        self.assertNotAlmostEqual(adapted, self.loss(self.base), delta=1e-3)
        prompt = ("--prompt", "User: 1 The?\n\nAssistant:", "--max-tokens", 8, "--json")
        self.assertEqual(self.succeed("generate", "--model", step / "adapter", *prompt).json()["token_ids"],
                         self.succeed("generate", "--model", "merged", *prompt).json()["token_ids"])

    def test_an_adapter_is_refused_by_other_weights(self):
        run, _ = self.finetune("lora", *LORA)
        other = step_directory(self.train("other", "run.seed=9", "run.precision=fp32", "schedule.steps=2"), 2)
        result = self.dsmoe("eval", "--model", step_directory(run, STEPS), "--base", other, "--data",
                            "corpus/held.jsonl")
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, r"made for other weights: their fingerprint is \w{32}, that of \S+ is \w{32}")
        result = self.dsmoe("export", step_directory(run, STEPS), "out", "--base", other)
        self.assertEqual(result.code, 2, result)
        self.assertFalse((self.folder / "out").exists())

    # What is refused.

    def test_bad_rows_are_named_by_line_or_counted(self):
        good = conversations(8)
        cases = {
            "not valid JSON": "{oops",
            "unknown role `bard`": {"messages": [{"role": "bard", "content": "x"}]},
            "an empty conversation": {"messages": []},
            "nothing to learn": {"messages": [{"role": "user", "content": "x"}]},
        }
        for problem, row in cases.items():
            with self.subTest(problem):
                self.write_rows([*good[:2], row, *good[2:]])
                self.refuse(pattern=rf"chat\.jsonl:3.*{problem}")
        self.write_rows([*good, *cases.values()])
        _, out = self.finetune("skipping", "data.bad_rows=skip", "data.held_out=0")
        self.assertRegex(out, r"left out +4 samples of 0 tokens: no conversation \(data\.bad_rows\)")

    def test_an_answer_longer_than_the_window_is_an_error_or_counted(self):
        long = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y" * 200}]}
        self.write_rows([*conversations(8), long])
        self.refuse(pattern=r"chat\.jsonl:9: longer than a row: 1 samples .* data\.sequence_length is 96")
        _, out = self.finetune("cut", "data.overlong=cut", "data.held_out=0")
        self.assertRegex(out, r"cut +1 sample of \d+ tokens at their ends")
        _, out = self.finetune("dropped", "data.overlong=drop", "data.held_out=0")
        self.assertRegex(out, r"left out +1 sample of \d+ tokens: longer than a row")

    def test_nothing_to_train_on_is_an_error(self):
        self.write_rows([{"messages": []}] * 3)
        self.refuse("data.bad_rows=skip", pattern=r"chat\.jsonl: 0 target tokens to train on.*3 left out")

    def test_settings_that_cannot_be_are_refused(self):
        cases = {
            ("finetune.freeze=[routr]",): r"finetune\.freeze: `routr` matches none of the model's \d+ tensors",
            ("finetune.lr_multipliers={q_projj: 2}",): r"finetune\.lr_multipliers: `q_projj` matches none",
            ("finetune.freeze=['*']",): r"none of \d+ tensors is left to train",
            ("finetune.freeze=[gate_proj]",): r"gate_proj without|only gate_proj or only up_proj",
            (*LORA, "finetune.lora.target=[router]"): r"takes no adapter",
            (*LORA, "finetune.lora.dropout=0.1"): r"dropout \(0\.1\d*\) must be 0 .* feed-forward matrices.*: \S+mlp\.",
            (*LORA, "finetune.freeze=[attention]"): r"finetune\.freeze: with finetune\.method \(lora\)",
            ("finetune.method=esft", "finetune.esft.experts=none.yaml"): r"none\.yaml",
            ("data.document_mask=false",): r"data\.packing \(whole\)",
            ("data.train=[]",): r"data\.train is empty",
        }
        for overrides, pattern in cases.items():
            with self.subTest(overrides=overrides):
                self.refuse(*overrides, pattern=pattern)
        result = self.dsmoe("finetune", self.write_config("far.yaml", TUNING), "model.init_from=nowhere")
        self.assertEqual(result.code, 2, result)
        self.assertIn("nowhere: no model here", result.err)
        result = self.dsmoe("finetune", self.write_config("no_origin.yaml", TUNING), "data.tokenizer=byte")
        self.assertEqual(result.code, 2, result)
        self.assertIn("model.init_from is null", result.err)

    def test_another_tokenizer_than_the_weights_is_refused(self):
        vocabulary = json.loads((self.base / "model/tokenizer.json").read_text())
        swapped = vocabulary["model"]["vocab"]
        swapped["A"], swapped["B"] = swapped["B"], swapped["A"]
        (self.folder / "tok").mkdir()
        (self.folder / "tok/tokenizer.json").write_text(json.dumps(vocabulary))
        shutil.copy(self.base / "model/tokenizer_config.json", self.folder / "tok")
        self.refuse("data.tokenizer=tok", pattern=r"data\.tokenizer \(tok\) is not the one that model\.init_from")

    def tensors(self, folder):
        from safetensors.numpy import load_file
        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            found |= load_file(path)
        return found


if __name__ == "__main__":
    unittest.main()
