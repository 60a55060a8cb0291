"""A tiny study end to end: what runs, what is skipped, what the tables say."""

import json
import math
import statistics
import subprocess
import unittest

from studies import OFF, ROOT, StudyTest, rows, script
from support import environment, metrics


def tail(lines):
    """The last 20 % of the steps."""
    return [line for line in lines if line["step"] > 0.8 * lines[-1]["step"]]


class StudyEndToEndTest(StudyTest):

    def study(self):
        self.write_study()
        result = self.ablate("--jobs", "2")
        self.assertEqual(result.code, 0, result)
        return result

    def metrics(self, variant, seed):
        return metrics(self.run_folder(variant, seed))

    def test_a_study_runs_once_and_its_numbers_are_those_of_the_metrics(self):
        first = self.study()
        self.check_pairs()
        self.check_inert(first)
        self.check_record()
        self.check_results()
        self.check_skipped()
        self.check_only_finished_runs_count()

    def check_pairs(self):
        """The same seed: the same weights and the same first batch, whatever the factors."""
        for seed in (1, 2):
            losses = {variant: [line["loss"] for line in self.metrics(variant, seed)] for variant in ("none", "expert")}
            self.assertEqual(losses["none"][0], losses["expert"][0])
            self.assertNotEqual(losses["none"][1:], losses["expert"][1:])
        self.assertNotEqual(self.metrics("none", 1)[0]["loss"], self.metrics("none", 2)[0]["loss"])

    def check_inert(self, result):
        self.assertIn("inert is an inert switch", result.err)
        self.assertNotIn("expert is an inert switch", result.err)
        self.assertIn("inert is an inert switch", (self.folder / "runs/studies/tiny/results.md").read_text())

    def check_record(self):
        study = json.loads((self.folder / "runs/studies/tiny/study.json").read_text())
        self.assertEqual([run["folder"] for run in study["runs"]],
                         [f"{variant}/seed-{seed}" for seed in (1, 2) for variant in ("none", "expert", "inert")])
        self.assertEqual(len({run["hash"] for run in study["runs"]}), 6)
        self.assertEqual(study["variants"]["expert"]["config"]["balance.expert"], 0.5)
        self.assertEqual(study["variants"]["expert"]["kv_cache"]["elements_per_token"], 3 * (8 + 4))
        self.assertIn("step 6/6", (self.run_folder("expert", 2) / "stdout.log").read_text())

    def expected(self, variant, number):
        return [number(self.metrics(variant, seed)) for seed in (1, 2)]

    def check_results(self):
        """Each number again, from metrics.jsonl alone. The t quantile for two pairs is 12.706."""
        told = rows(self.folder / "runs/studies/tiny/results.csv")
        def mean_of(group, key):
            return lambda lines: statistics.fmean(line[group][key] for line in tail(lines))

        numbers = {
            "held_out_loss": lambda lines: lines[-1]["eval"]["held"]["loss"],
            "max_vio": mean_of("load", "max_vio"),
            "device_vio": mean_of("load", "device_vio"),
            "received_vio": mean_of("load", "received_vio"),
            "router_entropy": mean_of("router", "entropy"),
            "dead": mean_of("load", "dead"),
            "devices_per_token": mean_of("traffic", "devices_per_token"),
            "drop_rate": mean_of("drop", "rate"),
            "mb_per_token": lambda lines: sum(line["traffic"]["bytes"] for line in tail(lines)) / 1e6
            / (lines[-1]["tokens"] - lines[-1 - len(tail(lines))]["tokens"]),
            "tokens_per_second": lambda lines: statistics.median(line["tokens_per_second"] for line in lines)}
        for name, number in numbers.items():
            baseline, changed = self.expected("none", number), self.expected("expert", number)
            difference = [one - other for one, other in zip(changed, baseline)]
            width = 12.7062047 * statistics.stdev(difference) / math.sqrt(2)
            wanted = {"mean": statistics.fmean(changed), "sd": statistics.stdev(changed),
                      "difference": statistics.fmean(difference), "low": statistics.fmean(difference) - width,
                      "high": statistics.fmean(difference) + width}
            for what, value in wanted.items():
                self.assertAlmostEqual(float(told["expert"][f"{name}_{what}"]), value, msg=f"{name}_{what}",
                                       delta=1e-6 * (1 + abs(value)))
            self.assertEqual(told["none"][f"{name}_difference"], "")
        self.assertEqual(told["inert"]["held_out_loss_mean"], told["none"]["held_out_loss_mean"])

    def check_skipped(self):
        before = {path: path.stat().st_mtime_ns for path in self.folder.rglob("metrics.jsonl")}
        again = self.ablate()
        self.assertEqual(again.code, 0, again)
        self.assertIn("6 runs are finished already", again.err)
        self.assertNotIn("starting", again.err)
        self.assertEqual({path: path.stat().st_mtime_ns for path in before}, before)
        self.assertIn("tokens/s a run, as measured", self.ablate("--dry-run").out)

    def check_only_finished_runs_count(self):
        (self.run_folder("expert", 2) / "DONE").unlink()
        result = script("report", self.folder, "runs/studies/tiny")
        self.assertEqual(result.code, 0, result)
        self.assertIn("left out: expert/seed-2", result.err)
        told = rows(self.folder / "runs/studies/tiny/results.csv")["expert"]
        self.assertEqual((told["seeds"], told["held_out_loss_low"]), ("1", ""))

    def test_a_dry_run_lists_and_leaves_nothing(self):
        self.write_study(grid={"drop.capacity": [1, 2.0]}, baseline="none@capacity=1")
        result = self.ablate("--dry-run")
        self.assertEqual(result.code, 0, result)
        self.assertIn("12 runs, 1 at a time; time left: unknown", result.out)
        line = next(line for line in result.out.splitlines() if line.startswith("expert@capacity=2.0/seed-2"))
        for number in ("48,188", "36,668", " 36 ", "1,536", "unknown"):
            self.assertIn(number, line)
        self.assertFalse((self.folder / "runs").exists())

    def test_the_studies_that_come_with_dsmoe_can_be_run(self):
        found = [path for path in (ROOT / "configs/studies").glob("*.yaml") if "\nvariants:" in path.read_text()]
        self.assertTrue(found)
        for path in found:
            result = script("ablate", ROOT, path, "--dry-run")
            self.assertEqual(result.code, 0, result)
            for line in result.out.splitlines()[1:-1]:
                self.assertLessEqual(int(line.split()[3].replace(",", "")), 500_000, line)

    def test_only_runs_what_matches_and_a_folder_of_another_configuration_is_refused(self):
        self.write_study()
        result = self.ablate("--only", "none/*-1", "--no-report")
        self.assertEqual(result.code, 0, result)
        self.assertEqual([path.parent.name for path in self.folder.rglob("DONE")], ["seed-1"])
        self.write_base(optimizer={"lr": 0.02})
        self.assert_refused(self.ablate(), str(self.run_folder("none", 1).relative_to(self.folder)),
                            "optimizer.lr: 0.01 there, now 0.02")

    def test_a_failing_run_is_told_with_its_last_words_and_the_others_go_on(self):
        self.write_study(seeds=[1])
        (self.run_folder("none", 1)).mkdir(parents=True)
        (self.run_folder("none", 1) / "checkpoints").touch()  # where a folder is wanted
        result = self.ablate("--no-report")
        self.assertEqual(result.code, 1, result)
        self.assertIn("failed   none/seed-1", result.err)
        self.assertIn("  | ", result.err)
        self.assertTrue((self.run_folder("inert", 1) / "DONE").exists())

    def test_ranks_run_under_mpirun_and_a_slurm_task_is_one_run(self):
        self.write_study(ranks=2, seeds=[3], variants={"none": OFF | {"parallel.expert": 2}})
        text = self.ablate("--slurm").out
        self.assertIn("#SBATCH --array=0-0%1", text)
        self.assertIn("#SBATCH --ntasks=2", text)
        task = environment(SLURM_ARRAY_TASK_ID="0", OMPI_MCA_rmaps_base_oversubscribe="1",
                           OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run(["bash", "-c", text], cwd="/", env=task, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue((self.run_folder("none", 3) / "DONE").exists())
        self.assertGreater(self.metrics("none", 3)[-1]["traffic"]["bytes"], 0)
        self.assertIn("1 runs are finished already", self.ablate("--no-report").err)


if __name__ == "__main__":
    unittest.main()
