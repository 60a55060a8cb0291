"""A run that was stopped goes on as if it had not been: bitwise on the same layout, exactly on another."""
import shutil
import unittest

from support import (SAME_ON_ANY_LAYOUT, CliTest, exact, files_below, flatten, metrics, selected,
                     step_directory)

STEPS = 8
# Both corpora fit into a few steps of 8 sequences, so that a run passes into the next epoch.
EVERY = ["checkpoint.every=4", f"schedule.steps={STEPS}", "schedule.kind=cosine", "log.every=1"]


def steps_kept(run):
    return sorted(int(path.name[5:]) for path in (run / "checkpoints").glob("step-????????"))


def forget_the_end(run):
    """As if the run had been stopped after its first checkpoint, in the middle of writing a line."""
    shutil.rmtree(step_directory(run, STEPS))
    (run / "DONE").unlink()
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "loss"')


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


class ResumeTest(CliTest):

    def check_equal_runs(self, run, other):
        self.assertEqual(exact(run), exact(other))
        ours, theirs = files_below(step_directory(run, STEPS)), files_below(step_directory(other, STEPS))
        self.assertEqual(ours.keys(), theirs.keys())
        for name in ours.keys() - {"config.yaml", "manifest.json"}:
            self.assertEqual(ours[name], theirs[name], name)

    def check_bitwise(self, *overrides, ranks=0):
        whole = self.train("whole", *EVERY, *overrides, ranks=ranks)
        resumed = self.train("resumed", *EVERY, *overrides, ranks=ranks)
        forget_the_end(resumed)
        output = self.finish(resumed, *EVERY, *overrides, ranks=ranks).out
        self.assertIn("resumed from", output)
        self.assertIn("step-00000004", output)
        self.check_equal_runs(whole, resumed)
        self.assertGreater(max(line["drop"]["rate"] for line in metrics(resumed)), 0.01)
        self.assertTrue((resumed / "DONE").exists())

    def test_a_resumed_run_is_bitwise_the_run_that_was_not_stopped_on_one_rank(self):
        self.check_bitwise("run.precision=fp32")

    def test_a_resumed_run_is_bitwise_the_run_that_was_not_stopped_on_two_ranks(self):
        self.check_bitwise("run.precision=fp32", "parallel.expert=2", ranks=2)

    def test_masters_of_bf16_runs_come_back_bitwise(self):
        self.check_bitwise("run.precision=bf16")

    def test_a_finished_run_that_is_started_again_changes_nothing(self):
        run = self.train("run", *EVERY)
        before = files_below(run / "checkpoints") | {"lines": exact(run)}
        self.finish(run, *EVERY)
        self.assertEqual(files_below(run / "checkpoints") | {"lines": exact(run)}, before)

    def test_a_run_goes_on_on_another_layout_with_the_same_numbers(self):
        common = ["schedule.kind=constant", "eval.every=1", "log.every=1", "log.interference_every=1",
                  "run.precision=fp64"]
        whole = metrics(self.train("whole", *common, "schedule.steps=8"))
        run = self.train("moving", *common, "schedule.steps=2")
        for steps, ranks, expert, zero in ((3, 2, 2, 1), (4, 2, 2, 0), (6, 4, 2, 1), (7, 4, 1, 1), (8, 0, 1, 0)):
            self.finish(run, *common, f"schedule.steps={steps}", f"parallel.expert={expert}",
                        f"parallel.zero={zero}", ranks=ranks)
        lines = metrics(run)
        self.assertEqual([line["step"] for line in lines], list(range(1, 9)))
        for line, expected in zip(lines, whole):
            theirs = selected(expected, SAME_ON_ANY_LAYOUT)
            self.assertEqual(selected(line, SAME_ON_ANY_LAYOUT).keys(), theirs.keys())
            for key, value in theirs.items():
                self.assertAlmostEqual(flatten(line)[key], value, delta=1e-10 * abs(value), msg=key)

    def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(self):
        whole = self.train("whole", *EVERY)

        def flip_weight(step):
            flip(step / "model/model.safetensors", -1)

        def cut_moments(step):
            path = step / "optimizer/state-0.safetensors"
            path.write_bytes(path.read_bytes()[:-100])

        cases = {"model.safetensors: its xxh3-128 is .*tensor '[a-z0-9_.]+' is damaged": flip_weight,
                 "state-0.safetensors: has [0-9]+ bytes, the manifest says [0-9]+": cut_moments,
                 "manifest.json": lambda step: (step / "manifest.json").unlink(),
                 "state.json": lambda step: (step / "state.json").write_text("{}")}
        for expected, damage in cases.items():
            with self.subTest(expected):
                run = self.folder / "runs/damaged"
                shutil.rmtree(run, ignore_errors=True)
                shutil.copytree(whole, run)
                shutil.copy(self.folder / "whole.yaml", self.folder / "damaged.yaml")
                damage(step_directory(run, STEPS))
                result = self.finish(run, *EVERY)
                warnings = [line for line in result.err.splitlines() if "warning" in line]
                self.assertEqual(len(warnings), 1, result)
                self.assertRegex(warnings[0], f"step-00000008.*{expected}")
                self.check_equal_runs(whole, run)

    def refused(self, run, *overrides, ranks=0):
        """The message with which the run is refused; checks that nothing but the log changed."""
        before = {name: content for name, content in files_below(run).items() if name != "log.txt"}
        result = self.dsmoe("train", self.folder / f"{run.name}.yaml", f"run.name={run.name}", *overrides,
                            ranks=ranks)
        self.assertEqual(result.code, 2, result)
        self.assertIn("hint: ", result.err)
        after = {name: content for name, content in files_below(run).items() if name != "log.txt"}
        self.assertEqual(before, after)
        return result.err

    def test_a_changed_configuration_is_refused_unless_it_is_allowed(self):
        run = self.train("run", "schedule.steps=2", "schedule.kind=constant")
        on = ["schedule.steps=4", "schedule.kind=constant"]
        self.assertRegex(self.refused(run, *on, "balance.expert=0.5"), "balance.expert: 0.02.*now 0.5")
        message = self.refused(run, *on, "run.seed=7", "batch.sequences=16", "model.moe_intermediate_size=16")
        for expected in ("run.seed: 1 .*now 7", "batch.sequences: 8 .*now 16",
                         "model.moe_intermediate_size: 12 .*now 16"):
            self.assertRegex(message, expected)
        self.finish(run, *on, "balance.expert=0.5", "run.allow_change=[balance.expert]",
                    "checkpoint.keep=5", "log.every=3", "batch.micro_sequences=4")
        self.assertEqual(metrics(run)[-1]["step"], 4)

    def test_a_changed_corpus_is_refused(self):
        run = self.train("run", "schedule.steps=2")
        path = self.folder / "corpus/b.txt"
        path.write_text(path.read_text().replace("river", "lake!"))
        message = self.refused(run, "schedule.steps=4")
        self.assertRegex(message, "fingerprint [0-9a-f]{32}, was [0-9a-f]{32}")
        self.assertEqual(self.refused(run, "schedule.steps=4", ranks=2).count("hint: "), 1)

    def test_resume_never_starts_over_and_a_directory_goes_back_to_it(self):
        run = self.train("run", *EVERY)
        whole = exact(run)
        result = self.finish(run, *EVERY, "run.resume=never")
        self.assertNotIn("resumed", result.out)
        self.assertEqual(exact(run), whole)
        result = self.finish(run, *EVERY, f"run.resume={step_directory(run, 4)}")
        self.assertIn("resumed from", result.out)
        self.assertEqual(exact(run), whole)
        flip(step_directory(run, 4) / "model/model.safetensors", -1)
        self.assertIn("is damaged", self.refused(run, *EVERY, f"run.resume={step_directory(run, 4)}"))
        self.assertIn("nowhere", self.refused(run, *EVERY, "run.resume=nowhere"))

    def test_a_run_that_starts_over_does_not_return_to_the_steps_it_left(self):
        common = ["schedule.kind=constant", "schedule.warmup_steps=0"]
        run = self.train("run", *common, "schedule.steps=4", "checkpoint.every=2")
        fresh = [*common, "run.seed=2"]
        self.finish(run, *fresh, "schedule.steps=1", "run.resume=never")
        result = self.finish(run, *fresh, "schedule.steps=3")
        self.assertIn("step-00000001", result.out.split("resumed from")[1].splitlines()[0])
        self.assertEqual([line["step"] for line in metrics(run)], [1, 2, 3])
        self.assertEqual(steps_kept(run), [1, 3])

    def test_a_run_without_a_whole_checkpoint_is_not_silently_begun_again(self):
        run = self.train("run", "schedule.steps=4", "checkpoint.every=2")
        for step in (2, 4):
            (step_directory(run, step) / "manifest.json").unlink()
        message = self.refused(run)
        self.assertEqual(message.count("manifest.json"), 2, message)
        self.assertIn("run.resume=never", message)

    def test_old_checkpoints_are_removed_but_for_permanent_ones(self):
        run = self.train("run", "schedule.steps=8", "checkpoint.every=1", "checkpoint.keep=2",
                         "checkpoint.permanent_every=3")
        self.assertEqual(steps_kept(run), [3, 6, 7, 8])
        self.assertEqual((run / "checkpoints/latest").read_text(), "step-00000008\n")
        self.assertEqual({path.name for path in (run / "checkpoints").iterdir()} - {"latest"},
                         {f"step-{step:08}" for step in (3, 6, 7, 8)})


if __name__ == "__main__":
    unittest.main()
