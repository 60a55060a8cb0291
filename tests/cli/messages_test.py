"""What is said: once, whatever the number of ranks; of settings that say nothing; as one JSON object."""
import json
import subprocess
import unittest

from support import BINARY, LIMIT, CliTest, environment, metrics


class MessagesTest(CliTest):

    def setUp(self):
        super().setUp()
        self.config = self.write_config()

    def refuse(self, expected, *arguments, ranks=0):
        result = self.dsmoe(*arguments, ranks=ranks)
        self.assertEqual(result.code, 2, result)
        self.assertIn(expected, result.err)
        for start in ("error: ", "hint: "):
            self.assertEqual(sum(line.startswith(start) for line in result.err.splitlines()), 1, result)
        return result

    def test_an_error_of_all_ranks_is_one_message(self):
        for verbs, options in ((("bench", "step"), ()), (("bench", "decode"), ("--context", 16)), (("inspect",), ()),
                               (("train",), ("--dry-run",))):
            with self.subTest(verbs):
                refused = self.refuse("the number of ranks (3) must be divisible by", *verbs, self.config,
                                      "parallel.expert=2", *options, ranks=3)
                self.assertIn("hint: start it with mpirun -np N, N a multiple of 2", refused.err)
        self.refuse("model.init_from is null", "finetune", self.config, "data.tokenizer=byte", ranks=2)
        self.refuse("no target", "inspect", ranks=2)

    def test_a_warning_of_all_ranks_is_one_message(self):
        run = self.train("warned", "schedule.steps=2", ranks=2)
        resumed = self.finish(run, "schedule.steps=3", "run.threads=2", ranks=2)
        self.assertEqual(resumed.err.count("warning: not bitwise: 2 threads per rank"), 1, resumed)

    def test_a_warning_of_one_rank_names_it(self):
        run = self.train("mixed", "schedule.steps=2", ranks=2)
        arguments = ("train", str(self.folder / "mixed.yaml"), f"run.name={run.name}", "schedule.steps=3")
        command = [*self.command(*arguments, ranks=1), ":", "-np", "1", "env", "ATEN_CPU_CAPABILITY=default", BINARY,
                   *arguments]
        resumed = subprocess.run(command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=LIMIT, check=True)
        self.assertIn("warning: rank 1: not bitwise: this CPU computes with DEFAULT", resumed.stderr)
        self.assertEqual(resumed.stderr.count("warning: "), 1, resumed.stderr)

    def test_settings_that_say_nothing_are_refused(self):
        model = self.train("whole", "schedule.steps=2") / "checkpoints/step-00000002/model"
        for expected, arguments in {
                "--steps says nothing": ("bench", "cluster", self.config, "--steps", 3, "--output", "c.yaml"),
                "measures hosts alone": ("bench", "cluster", self.config, "run.device=cuda", "--output", "c.yaml"),
                "draws a schedule alone, and": ("inspect", "--schedule", "1f1b", "--layouts", 3),
                "changes nothing in a model directory": ("inspect", model, "model.hidden_size=8"),
                "puts nothing off": ("inspect", "--schedule", "1f1b", "--put-off", 0.5),
                "0 to 1 is put off": ("inspect", "--schedule", "zb_h1", "--put-off", 2)}.items():
            with self.subTest(expected):
                self.refuse(expected, *arguments)
        for arguments in (("--show", 1, "--json"), ("--show", 1, "--score-only"), ("--dry-run", "--score-only")):
            refused = self.dsmoe("finetune", self.config, *arguments)
            self.assertEqual((refused.code, "excludes" in refused.err), (2, True), refused)
        self.assertFalse((self.folder / "c.yaml").exists())

    def test_a_backend_that_the_start_did_not_choose_is_told(self):
        def told(backend, ranks):
            text = self.succeed("inspect", self.config, f"parallel.backend={backend}", ranks=ranks).err
            return "parallel.backend" in text
        self.assertEqual([told("auto", 0), told("local", 0), told("mpi", 0)], [False, False, True])
        self.assertEqual([told("auto", 1), told("mpi", 1), told("local", 1)], [False, False, True])

    def test_a_dry_run_tells_of_a_device_that_the_build_lacks(self):
        if "is not in this build" not in self.dsmoe("train", self.config, "run.device=cuda").err:
            self.skipTest("this build has devices")
        dry = self.succeed("train", self.config, "run.device=cuda", "--dry-run")
        self.assertIn("warning: run.device=cuda is not in this build", dry.err)

    def test_inspect_alone_takes_as_many_ranks_as_the_layout_needs(self):
        wide = ("--json", "parallel.expert=4", "parallel.pipeline=2")
        alone = self.succeed("inspect", self.config, *wide).json()
        together = self.succeed("inspect", self.config, *wide, ranks=8).json()
        self.assertEqual(alone, together)
        self.assertEqual(alone["layout"], {"ranks": 8, "pipeline": 2, "expert": 4})
        more = self.succeed("inspect", self.config, "--json").json()
        self.assertLess(alone["memory"]["weights"], more["memory"]["weights"])
        self.refuse("the number of ranks (3)", "inspect", self.config, *wide, ranks=3)

    def test_training_tells_what_came_of_it(self):
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                done = self.succeed("train", self.config, "--json", f"run.name=json{ranks}", ranks=ranks).json()
                last = done.pop("last")
                self.assertEqual(last, metrics(self.folder / f"runs/json{ranks}")[-1] | {"layers": last["layers"]})
                self.assertEqual(done, {"directory": f"runs/json{ranks}", "step": 6, "tokens": 6 * 8 * 32, "done": True,
                                        "checkpoint": f"runs/json{ranks}/checkpoints/step-00000006"})
                self.assertTrue((self.folder / done["checkpoint"] / "model").is_dir())
        again = self.succeed("train", self.config, "--json", "run.name=json0").json()
        self.assertEqual(again, done | {"directory": "runs/json0", "last": None,
                                        "checkpoint": "runs/json0/checkpoints/step-00000006"})

    def test_the_checkpoint_that_is_told_is_there_also_where_nothing_was_left_to_do(self):
        first = self.train("first") / "checkpoints/step-00000006"
        told = self.succeed("train", self.config, "--json", "run.name=second", f"run.resume={first}").json()
        self.assertEqual((told["step"], told["last"]), (6, None))
        self.assertTrue((self.folder / told["checkpoint"] / "model/config.json").is_file(), told)

    def test_a_measured_cluster_is_told_as_well(self):
        told = self.succeed("bench", "cluster", self.config, "--json", "--output", "c.yaml").out
        told = json.loads(told)
        self.assertEqual(told["output"], "c.yaml")
        self.assertIn(told["cluster"], (self.folder / "c.yaml").read_text())


if __name__ == "__main__":
    unittest.main()
