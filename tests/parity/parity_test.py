"""dsmoe computes what transformers computes: logits, loss, every gradient and greedy text, on drawn models.

usage: parity_test.py [ParityTest.test_v2_07 ...]
"""
import dataclasses
import os
import pathlib
import sys
import unittest
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

from safetensors.torch import load_file

import compare
import draw
import files
import oracle

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from support import CliTest

NEW_TOKENS = 24
SHOWN = 8  # lines of a failure


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Norm-wise for tensors (compare.distance), relative for the loss."""
    logits: float
    loss: float
    gradients: float


# float32 against transformers in float32 as released: measured rounding of its own is 2e-6, 4e-8, 3e-5 at most.
# float64 against transformers with its casts to float32 made casts to float64: the dumps round to float32.
TOLERANCES = {"fp32": Tolerance(1e-5, 1e-6, 1e-4), "fp64": Tolerance(2e-7, 1e-9, 1e-6)}


class ParityTest(CliTest):

    @classmethod
    def tearDownClass(cls):
        drawn = oracle.Redraws
        print(f"parity: {drawn.kept} documents; drawn again for a near tie: {drawn.documents} documents, "
              f"{drawn.prompts} prompts", file=sys.stderr)

    def open_drawn(self, drawn):
        """Saves the drawn model and returns what transformers reads back."""
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        oracle.save(drawn, self.folder / "model")
        model, report = oracle.load(self.folder / "model")
        self.assertEqual({kind: names for kind, names in report.items() if names}, {}, drawn)
        return model

    def evaluate(self, window, precision):
        """What dsmoe says of the folder's model and documents: its JSON, the logits file and the gradients."""
        logits, gradients = (self.folder / f"{precision}_{kind}.safetensors" for kind in ("logits", "gradients"))
        report = self.succeed("eval", "--model", "model", "--data", "documents", "--window", window, "--json",
                              "--precision", precision, "--dump-logits", logits,
                              "--dump-gradients", gradients).json()
        return report, load_file(logits), load_file(gradients)

    def check_evaluation(self, drawn, texts, precision, theirs):
        window = drawn.window or max(drawn.lengths) - 1
        tolerance = TOLERANCES[precision]
        report, outputs, gradients = self.evaluate(window, precision)
        lines = []
        if report["tokens"] != len(theirs.targets) or outputs["targets"].tolist() != theirs.targets.tolist():
            lines.append(f"predictions: {report['tokens']} tokens and targets {outputs['targets'].tolist()[:20]}..., "
                         f"transformers {len(theirs.targets)} and {theirs.targets.tolist()[:20]}...")
        else:
            lines.append(compare.complaint("logits", outputs["logits"], theirs.logits, tolerance.logits))
        if not abs(report["loss"] - theirs.loss) <= tolerance.loss * theirs.loss:
            lines.append(f"loss: dsmoe {report['loss']!r}, transformers {theirs.loss!r}")
        lines += compare.complaints(gradients, theirs.gradients, tolerance.gradients)
        self.agree(drawn, precision, lines)

    def check_generation(self, drawn, prompt, expected):
        said = self.succeed("generate", "--model", "model", "--token-ids", ",".join(map(str, prompt)),
                            "--max-tokens", NEW_TOKENS, "--temperature", 0, "--json").json()["token_ids"]
        both = [f"prompt {prompt}:", f"  dsmoe        {said}", f"  transformers {expected}"]
        self.agree(drawn, "generation", [] if said == expected else both)

    def agree(self, drawn, what, lines):
        lines = [line for line in lines if line]
        with self.subTest(what):
            if lines:
                more = f"\n... and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
                self.fail(f"{drawn.name}, {what}:\n" + "\n".join(lines[:SHOWN]) + more + f"\n{drawn}")

    def check(self, name):
        drawn = draw.draw(name)
        model = self.open_drawn(drawn)
        texts = oracle.documents(model, drawn)
        files.write_megatron(self.folder / "documents", texts)
        self.check_evaluation(drawn, texts, "fp32", oracle.evaluate(model, texts, drawn.window))
        double = oracle.in_double(model)
        self.check_evaluation(drawn, texts, "fp64", oracle.evaluate_in_double(double, texts, drawn.window))
        for prompt, expected in oracle.prompts(model, drawn, NEW_TOKENS):
            self.check_generation(drawn, prompt, expected)


def add_test(name):
    def test(self):
        self.check(name)
    setattr(ParityTest, f"test_{name.replace('-', '_')}", test)


for each in draw.names():
    add_test(each)


CHOICES = {
    "query": lambda config: config["q_lora_rank"] is None,
    "yarn": lambda config: config["rope_parameters"]["rope_type"] == "yarn",
    "scales": lambda config: config["rope_parameters"].get("mscale") == config["rope_parameters"].get("mscale_all_dim"),
    "values": lambda config: config["v_head_dim"] > config["qk_nope_head_dim"],
    "dense": lambda config: config["first_k_dense_replace"] > 0,
}
OWN_CHOICES = {"v2": {"method": lambda config: config["topk_method"] == "greedy"},
               "v3": {"normalised": lambda config: config["norm_topk_prob"]}}


class DrawTest(unittest.TestCase):
    """What is drawn has both sides of every choice."""

    def seen(self, family, value):
        return {value(draw.draw(name)) for name in draw.names() if name.startswith(family)}

    def test_every_choice_is_drawn_both_ways(self):
        for family, own in OWN_CHOICES.items():
            for what, value in (CHOICES | own).items():
                self.assertEqual(self.seen(family, lambda drawn: value(drawn.config)), {True, False}, what)
            self.assertEqual(self.seen(family, lambda drawn: drawn.window > 0), {True, False})
            self.assertEqual(self.seen(family, lambda drawn: drawn.spelling), {"published", "transformers"})
            self.assertEqual(self.seen(family, lambda drawn: drawn.layout), {"per_expert", "fused", "sharded"})
            self.assertEqual(self.seen(family, lambda drawn: drawn.config["n_shared_experts"]), {0, 1, 2, 3})

    def test_a_draw_is_the_same_every_time(self):
        self.assertEqual(str(draw.draw("v2-07")), str(draw.draw("v2-07")))
        self.assertNotEqual(draw.draw("v2-07").config, draw.draw("v2-08").config)


if __name__ == "__main__":
    unittest.main()
