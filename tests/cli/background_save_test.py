"""checkpoint.background: the same files, written while training goes on; what fails ends the run."""
import pathlib
import re
import shutil
import unittest

from support import CliTest, exact, files_below, metrics, step_directory

STEPS = 6
EVERY = ["checkpoint.every=2", "checkpoint.keep=9", "schedule.kind=constant"]
ALL = [*EVERY, f"schedule.steps={STEPS}"]
WIDE = {"hidden_size": 512, "moe_intermediate_size": 512, "n_routed_experts": 32, "n_group": 4, "num_hidden_layers": 3,
        "intermediate_size": 1024}


def without_layout(files):
    """What a background save may write otherwise: config.yaml names the key."""
    return {name: text for name, text in files.items()
            if not name.endswith(("config.yaml", "manifest.json", "state.json"))}


class BackgroundSaveTest(CliTest):

    def test_the_same_files_as_when_training_waits(self):
        for overrides, ranks in (([], 0), (["run.precision=bf16", "parallel.zero=1"], 2), (["parallel.expert=2"], 2)):
            with self.subTest(overrides):
                waiting = self.train("waiting", *ALL, *overrides, "run.resume=never", ranks=ranks)
                beside = self.train("beside", *ALL, *overrides, "run.resume=never", "checkpoint.background=true",
                                    ranks=ranks)
                self.assertEqual(exact(waiting), exact(beside))
                for step in (2, 4, 6):
                    wanted, found = (without_layout(files_below(step_directory(run, step)))
                                     for run in (waiting, beside))
                    self.assertEqual(wanted, found)

    def test_a_run_resumes_from_a_background_checkpoint_bitwise(self):
        whole = self.train("whole", *ALL)
        parts = self.train("parts", *EVERY, "checkpoint.background=true", "schedule.steps=4")
        self.finish(parts, *ALL, "checkpoint.background=true")
        self.assertEqual([line["loss"] for line in exact(whole)], [line["loss"] for line in exact(parts)])

    def test_adapters_are_written_beside_training_too(self):
        base = step_directory(self.train("base", *EVERY, "schedule.steps=2"), 2)
        lora = ["finetune.method=lora", "finetune.lora.rank=2", f"model.init_from={base}"]
        waiting = self.train("adapter-waiting", *ALL, *lora)
        beside = self.train("adapter-beside", *ALL, *lora, "checkpoint.background=true")
        for step in (2, 6):
            wanted, found = (files_below(step_directory(run, step) / "adapter") for run in (waiting, beside))
            self.assertEqual(wanted, found)

    def test_training_hardly_waits(self):
        """Of what a save takes, training waits for the copy: under a tenth, once there is memory for it."""
        waited = {}
        for background in ("false", "true"):
            config = self.write_config(model=WIDE, run={"precision": "fp32"})
            result = self.succeed("train", config, "run.name=" + background, "checkpoint.every=20",
                                  f"checkpoint.background={background}", "schedule.steps=100", "eval.every=0")
            times = re.findall(r"saved \S+ in ([0-9.]+)s(?:, training waited ([0-9.]+) ms)?", str(result))
            self.assertEqual(len(times), 5, result)
            waited[background] = sorted(float(ms) / 1000 if ms else float(whole) for whole, ms in times[1:4])[1]
        self.assertLess(waited["true"], 0.1 * waited["false"], waited)

    def test_what_is_being_written_outlives_a_run_that_gives_up(self):
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                config = self.write_config(model=WIDE, optimizer={"lr": 1e200, "clip_norm": 0, "max_skipped": 3},
                                           schedule={"steps": 20, "warmup_steps": 0})
                failed = self.dsmoe("train", config, "run.resume=never", "checkpoint.every=1", "checkpoint.keep=30",
                                    "checkpoint.background=true", ranks=ranks)
                self.assertEqual(failed.code, 2, failed)
                run = self.folder / "runs" / "tiny"
                steps = len(metrics(run))
                saved = sorted(path.name for path in (run / "checkpoints").iterdir() if path.is_dir())
                self.assertEqual(saved, [step_directory(run, step).name for step in range(1, steps)])
                shutil.rmtree(run)

    def test_what_fails_ends_the_run_after_the_next_step(self):
        run = self.train("run", "schedule.steps=2", "checkpoint.every=1", "checkpoint.background=true")
        size = sum(path.stat().st_size for path in step_directory(run, 2).rglob("*") if path.is_file())
        shutil.rmtree(run)
        # A limit on files' sizes leaves room for everything but the optimizer's file.
        limit = max(1, size // 4 // 1024)
        failed = self.dsmoe("train", self.write_config(), "run.name=run", "schedule.steps=50", "checkpoint.every=20",
                            "checkpoint.background=true", "eval.every=0", "log.tensorboard=false",
                            wrapper=("bash", "-c", f'trap "" XFSZ; ulimit -f {limit}; exec "$@"', "x"))
        self.assertEqual(failed.code, 1, failed)
        self.assertRegex(str(failed), "(?i)file too large|no space")
        self.assertFalse(list(pathlib.Path(run / "checkpoints").glob("step-????????")))
        steps = len((run / "metrics.jsonl").read_text().splitlines())
        self.assertIn(steps, range(20, 40))  # before the next save

    def test_what_fails_on_one_of_two_ranks_ends_both(self):
        limit = 'trap "" XFSZ; [ "$OMPI_COMM_WORLD_RANK" = 0 ] || ulimit -f 1; exec "$@"'
        failed = self.dsmoe("train", self.write_config(), "parallel.expert=2", "schedule.steps=50",
                            "checkpoint.every=20", "checkpoint.background=true", "eval.every=0", ranks=2,
                            wrapper=("bash", "-c", limit, "x"))
        self.assertEqual(failed.code, 1, failed)
        self.assertRegex(str(failed), "(?i)file too large|no space")
        run = self.folder / "runs" / "tiny"
        self.assertFalse(list((run / "checkpoints").glob("step-????????")))
        self.assertIn(len(metrics(run)), range(20, 40))  # before the next save


if __name__ == "__main__":
    unittest.main()
