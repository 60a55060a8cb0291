"""A trained checkpoint is a Hugging Face model: transformers opens it as it is and computes the same."""
import contextlib
import io
import json
import os
import sys
import unittest
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

from support import ROOT, CliTest

sys.path.insert(0, str(ROOT / "tests/oracle"))
import transformers_loss

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

STEPS = 12
WINDOW = 64
# name: ranks, overrides. Transformers computes the same with both ways to choose and to make queries.
VARIANTS = {
    "limited": (0, ["model.topk_method=group_limited_greedy", "model.q_lora_rank=12"]),
    "greedy": (0, ["model.topk_method=greedy", "model.q_lora_rank=null"]),
    "scaled_yarn": (0, ["model.routed_scaling_factor=2.5", "model.n_shared_experts=2",
                        "model.rope_scaling={factor: 4, original_max_position_embeddings: 32, "
                        "mscale: 0.707, mscale_all_dim: 0.707}"]),
    "sharded": (2, ["parallel.expert=2", "model.q_lora_rank=null"]),
}


def open_with_transformers(model):
    opened, report = transformers.AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    return opened.eval(), report


class HuggingFaceTest(CliTest):

    def trained_model(self, name):
        ranks, overrides = VARIANTS[name]
        run = self.train(name, "run.precision=fp32", f"schedule.steps={STEPS}", "schedule.kind=constant",
                         *overrides, ranks=ranks)
        return run / f"checkpoints/step-{STEPS:08}/model"

    def check_opens(self, model):
        opened, report = open_with_transformers(model)
        self.assertEqual(type(opened).__name__, "DeepseekV2ForCausalLM")
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertEqual(list(report[kind]), [], kind)
        inspected = self.succeed("inspect", model, "--json").json()
        self.assertEqual(opened.num_parameters(), inspected["parameters"]["total"])
        return opened

    def check_tokenizer(self, model):
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        text = "The river is old, über alt. \n"
        ids = tokenizer(text)["input_ids"]
        self.assertEqual(ids, [256, *text.encode()])
        self.assertEqual(tokenizer.decode(ids, skip_special_tokens=True), text)
        self.assertEqual((tokenizer.bos_token_id, tokenizer.eos_token_id), (256, 257))

    def transformers_loss(self, model):
        output = io.StringIO()
        arguments = ["transformers_loss.py", str(model), str(self.folder / "corpus/held.jsonl"),
                     "--window", str(WINDOW)]
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(output):
            transformers_loss.main()
        return json.loads(output.getvalue())

    def check_loss(self, model, ranks):
        ours = self.succeed("eval", "--model", model, "--data", "corpus/held.jsonl", "--window", WINDOW,
                            "--json", ranks=ranks).json()
        theirs = self.transformers_loss(model)
        self.assertEqual(ours["tokens"], theirs["tokens"])
        self.assertLess(ours["loss"], 5, "the model must have learned something")
        self.assertAlmostEqual(ours["loss"], theirs["loss"], delta=1e-5)
        self.assertAlmostEqual(ours["bits_per_byte"], theirs["bits_per_byte"], delta=1e-5)

    def check_generation(self, model, opened):
        prompt = "The morning was"
        ours = self.succeed("generate", "--model", model, "--prompt", prompt, "--max-tokens", 16,
                            "--temperature", 0, "--json").json()
        ids = [256, *prompt.encode()]
        generated = opened.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False,
                                    pad_token_id=258)[0].tolist()[len(ids):]
        if generated[-1] == 257:
            generated.pop()
        self.assertEqual(ours["token_ids"], generated)
        self.assertEqual(ours["finish_reason"], "length" if len(generated) == 16 else "stop")
        return ours

    def test_transformers_computes_the_same(self):
        for name, (ranks, _) in VARIANTS.items():
            with self.subTest(name):
                model = self.trained_model(name)
                self.assertEqual(len(list(model.glob("*.safetensors"))), ranks or 1)
                opened = self.check_opens(model)
                self.check_tokenizer(model)
                self.check_loss(model, ranks)
                self.check_generation(model, opened)

    def test_a_model_that_transformers_computes_differently_is_refused_by_it(self):
        run = self.train("other", "schedule.steps=2", "model.norm_topk_prob=true")
        model = run / "checkpoints/step-00000002/model"
        self.assertEqual(json.loads((model / "config.json").read_text())["model_type"], "dsmoe")
        with self.assertRaises((ValueError, KeyError)):
            transformers.AutoModelForCausalLM.from_pretrained(model)
        inspected = self.succeed("inspect", model, "--json").json()
        self.assertEqual(inspected["hf_class"], "none")
        self.assertIn("norm_topk_prob", inspected["hf_class_reason"])

    def test_generation_depends_on_the_seed_alone(self):
        model = self.trained_model("greedy")
        sample = ["generate", "--model", model, "--token-ids", "256,84,104", "--max-tokens", 12,
                  "--temperature", 1, "--json", "--seed"]
        once, again, other = (self.succeed(*sample, seed).json()["token_ids"] for seed in (1, 1, 2))
        self.assertEqual(once, again)
        self.assertNotEqual(once, other)

    def test_a_published_directory_is_where_a_run_starts_from(self):
        model = self.trained_model("greedy")
        evaluate = ["eval", "--data", "corpus/held.jsonl", "--window", WINDOW, "--json", "--model"]
        before = self.succeed(*evaluate, model).json()
        run = self.train("tuned", f"model.init_from={model}", "run.precision=fp32", "schedule.steps=1",
                         "optimizer.lr=1e-12", "schedule.warmup_steps=0", *VARIANTS["greedy"][1])
        after = self.succeed(*evaluate, run / "checkpoints/step-00000001").json()
        self.assertEqual(before["tokens"], after["tokens"])
        self.assertAlmostEqual(before["loss"], after["loss"], delta=1e-4)


if __name__ == "__main__":
    unittest.main()
