"""Pipelines: stages of layers on ranks of their own train what one process trains, and leave the same files."""
import json
import unittest

import torch
from safetensors.torch import load_file

from support import CliTest, metrics, step_directory

STEPS = 4
PLAIN = ["schedule.kind=constant", "schedule.warmup_steps=0", "checkpoint.every=2", "checkpoint.keep=9",
         "batch.micro_sequences=2", "optimizer.clip_norm=0", "eval.every=2"]
TWO = ["parallel.pipeline=2"]


def whole(folder):
    """All tensors of a folder's files, by name: none in two of them."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        part = load_file(path)
        assert not tensors.keys() & part.keys()
        tensors.update(part)
    return tensors


class PipelineTest(CliTest):

    def run_of(self, name, *overrides, ranks=0, steps=STEPS):
        return self.train(name, *PLAIN, f"schedule.steps={steps}", *overrides, ranks=ranks)

    def check_same(self, alone, other, step=STEPS):
        for folder in ("model", "optimizer"):
            wanted, found = (whole(step_directory(run, step) / folder) for run in (alone, other))
            self.assertEqual(wanted.keys(), found.keys())
            for name, tensor in wanted.items():
                self.assertTrue(torch.equal(tensor, found[name]), f"{folder} {name}")

    def check_numbers(self, alone, other):
        for ours, theirs in zip(metrics(other), metrics(alone), strict=True):
            for key in ("loss", "loss_total", "load.max_vio", "drop.rate", "traffic.devices_per_token"):
                self.assertEqual(self.value(ours, key), self.value(theirs, key), key)
            self.assertEqual(ours.get("eval"), theirs.get("eval"))

    def value(self, line, key):
        for part in key.split("."):
            line = line[part]
        return line

    def test_every_schedule_gives_the_bits_of_one_process(self):
        for precision, schedules in (("fp32", ("gpipe", "1f1b", "zb_h1", "interleaved")), ("bf16", ("zb_h1",))):
            common = [f"run.precision={precision}", "model.num_hidden_layers=4"]
            alone = self.run_of(f"alone-{precision}", *common)
            for schedule in schedules:
                chunks = 2 if schedule == "interleaved" else 1
                with self.subTest(schedule, precision=precision):
                    staged = self.run_of(f"{schedule}-{precision}", *common, *TWO, f"parallel.schedule={schedule}",
                                         f"parallel.chunks={chunks}", ranks=2)
                    self.check_same(alone, staged)
                    self.check_numbers(alone, staged)

    def test_eight_ranks_train_what_one_process_trains(self):
        """Stages, expert ranks, replicas and ZeRO-1 together, and the checkpoint in one process again."""
        common = ["model.num_hidden_layers=4", "batch.sequences=16", "run.precision=fp64", "drop.kind=none"]
        layout = [*TWO, "parallel.expert=2", "parallel.zero=1"]
        alone = self.run_of("alone", *common)
        for schedule, more in (("zb_h1", ["run.recompute=[moe]"]), ("interleaved", ["parallel.chunks=2"])):
            with self.subTest(schedule):
                staged = self.run_of(schedule, *common, *layout, f"parallel.schedule={schedule}", *more, ranks=8)
                self.finish(staged, *PLAIN, *common, f"schedule.steps={STEPS + 1}")
                self.finish(alone, *PLAIN, *common, f"schedule.steps={STEPS + 1}")
                for ours, theirs in zip(metrics(staged), metrics(alone), strict=True):
                    for key in ("loss", "loss_total", "grad_norm"):
                        self.assertAlmostEqual(ours[key], theirs[key], delta=1e-10 * theirs[key])

    def test_each_stage_writes_its_layers_and_transformers_reads_them(self):
        run = self.run_of("files", *TWO, "parallel.expert=2", "parallel.zero=1", ranks=4)
        step = step_directory(run, STEPS)
        manifest = json.loads((step / "manifest.json").read_text())
        self.assertEqual(manifest["layout"], {"world": 4, "expert": 2, "pipeline": 2, "replicas": 1})
        self.assertEqual(set(manifest["files"]), {str(path.relative_to(step)) for path in step.rglob("*")
                                                  if path.is_file()} - {"manifest.json"})
        shards = [load_file(path) for path in sorted((step / "model").glob("model-*.safetensors"))]
        self.assertEqual(len(shards), 4)
        self.assertIn("model.embed_tokens.weight", shards[0])
        self.assertIn("lm_head.weight", shards[2])
        import transformers
        model, info = transformers.AutoModelForCausalLM.from_pretrained(step / "model", output_loading_info=True)
        self.assertFalse(info["missing_keys"] or info["unexpected_keys"], info)
        self.assertTrue(torch.equal(model.lm_head.weight, shards[2]["lm_head.weight"]))

    def test_a_run_goes_on_on_any_layout(self):
        fp64 = "run.precision=fp64"
        alone = self.run_of("alone", fp64, steps=5)
        moving = self.run_of("moving", fp64, *TWO, "parallel.schedule=zb_h1", ranks=2, steps=1)
        for steps, ranks, layout in ((2, 0, []), (3, 4, [*TWO, "parallel.expert=2"]),
                                     (4, 4, [*TWO, "parallel.zero=1"]), (5, 2, ["parallel.expert=2"])):
            self.finish(moving, *PLAIN, fp64, f"schedule.steps={steps}", *layout, ranks=ranks)
        for ours, theirs in zip(metrics(moving), metrics(alone), strict=True):
            for key in ("loss", "grad_norm"):
                self.assertAlmostEqual(ours[key], theirs[key], delta=1e-11 * theirs[key])

    def test_adapters_of_all_stages_come_together(self):
        base = step_directory(self.run_of("base", steps=2), 2)
        lora = ["finetune.method=lora", "finetune.lora.rank=2", f"model.init_from={base}"]
        alone = self.run_of("adapter-alone", *lora)
        staged = self.run_of("adapter-staged", *lora, *TWO, ranks=2)
        wanted, found = (whole(step_directory(run, STEPS) / "adapter") for run in (alone, staged))
        self.assertEqual(wanted.keys(), found.keys())
        for name, tensor in wanted.items():
            self.assertTrue(torch.equal(tensor, found[name]), name)

    def test_recorded_logits_are_those_of_one_process(self):
        record = ["run.record_logits=2"]
        alone, staged = self.run_of("record-alone", *record), self.run_of("record-staged", *record, *TWO, ranks=2)
        names = sorted(path.name for path in (alone / "logits").iterdir())
        self.assertEqual(names, sorted(path.name for path in (staged / "logits").iterdir()))
        for name in names:
            wanted, found = load_file(alone / "logits" / name), load_file(staged / "logits" / name)
            for key in wanted:
                self.assertTrue(torch.equal(wanted[key], found[key]), f"{name} {key}")

    def test_a_schedule_without_a_pipeline_changes_nothing(self):
        alone = self.run_of("alone")
        for schedule in ("interleaved", "gpipe"):
            other = self.run_of(schedule, f"parallel.schedule={schedule}")
            self.check_same(alone, other)

    def test_half_a_matrix_on_one_stage_is_refused_on_all(self):
        failed = self.dsmoe("train", self.write_config(), *TWO, "run.name=half",
                            "finetune.freeze=[model.layers.0.mlp.gate_proj]", ranks=2, timeout=60)
        self.assertEqual(failed.code, 2)
        self.assertIn("only gate_proj or only up_proj", str(failed))

    def test_experts_are_scored_by_whole_models(self):
        base = step_directory(self.run_of("base", steps=2), 2)
        esft = ["finetune.method=esft", f"model.init_from={base}", "finetune.esft.sample_tokens=256"]
        self.run_of("esft-alone", *esft)
        self.run_of("esft-staged", *esft, *TWO, ranks=2)
        alone, staged = (self.folder / "runs" / name for name in ("esft-alone", "esft-staged"))
        self.check_same(alone, staged)

    def test_too_few_ranks_are_told(self):
        failed = self.dsmoe("train", self.write_config(), *TWO, "run.name=none", ranks=3)
        self.assertEqual(failed.code, 2)
        self.assertIn("parallel.pipeline (2)", str(failed))


if __name__ == "__main__":
    unittest.main()
