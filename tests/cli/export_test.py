"""export of a run's own checkpoint: whole or not at all, and never over what is there."""
import unittest

from safetensors.torch import load_file
from support import CliTest

STEP = "checkpoints/step-00000006"


class ExportTest(CliTest):

    def setUp(self):
        super().setUp()
        self.step = self.train("tiny", "run.precision=fp32") / STEP

    def refuse(self, pattern, *arguments):
        result = self.dsmoe("export", *arguments)
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, pattern)
        self.assertIn("hint:", result.err)

    def test_a_step_directory_becomes_a_model_directory(self):
        (self.folder / "out").mkdir()
        report = self.succeed("export", self.step, "out", "--json").json()
        self.assertEqual(report["shards"], 1)
        names = sorted(path.name for path in (self.folder / "out").iterdir())
        self.assertEqual(names, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
        data = ["--data", "corpus/held.jsonl", "--window", "32", "--json"]
        exported = self.succeed("eval", "--model", "out", *data).json()
        self.assertEqual(exported, self.succeed("eval", "--model", self.step, *data).json())

    def test_float32_of_a_bf16_run_is_its_master_copy(self):
        step = self.train("low", "run.precision=bf16") / STEP
        self.succeed("export", step, "fp32", "--dtype", "fp32")
        self.succeed("export", step, "kept")
        wide, kept = (load_file(self.folder / name / "model.safetensors") for name in ("fp32", "kept"))
        masters = load_file(step / "optimizer/state-0.safetensors")
        for name, tensor in wide.items():
            self.assertTrue(tensor.equal(masters["master." + name]), name)
            self.assertTrue(tensor.bfloat16().equal(kept[name]), name)
        self.assertTrue(any(not tensor.equal(kept[name].float()) for name, tensor in wide.items()))

    def test_what_is_refused_leaves_nothing(self):
        self.refuse("is no size", self.step, "out", "--max-shard-size", "5 gigs")
        (self.folder / "full").mkdir()
        (self.folder / "full/mine").write_text("kept")
        self.refuse("is there already", self.step, "full")
        self.assertEqual((self.folder / "full/mine").read_text(), "kept")
        self.refuse("no model here", "none", "out")
        weights = self.step / "model/model.safetensors"
        damaged = bytearray(weights.read_bytes())
        damaged[-5] ^= 1
        weights.write_bytes(damaged)
        self.refuse("model.safetensors", self.step, "out")
        self.assertEqual([path.name for path in self.folder.glob("out*")], [])


if __name__ == "__main__":
    unittest.main()
