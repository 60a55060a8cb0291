"""ZeRO-1: the files of ranks that share the optimizer's state, against those of ranks that each have all of it."""
import collections
import unittest

import numpy
import torch
from safetensors import safe_open

from support import CliTest, exact, step_directory

STEPS = 4
# Sums of two numbers have no order, and without clipping nothing else differs between the two.
PLAIN = ["optimizer.clip_norm=0", "schedule.kind=constant", "schedule.warmup_steps=0", "checkpoint.every=2",
         "checkpoint.keep=9"]


def pieces(step):
    """{name: [(begin, end, values, file's number)]} of optimizer/."""
    found = collections.defaultdict(list)
    for path in sorted((step / "optimizer").iterdir()):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                values = file.get_tensor(name).flatten()
                begin, end = map(int, (file.metadata().get(f"range.{name}") or f"0:{len(values)}").split(":"))
                assert end - begin == len(values), name
                found[name].append((begin, end, values, path.stem))
    return found


def whole(step):
    """{name: all numbers}; pieces must lie one after the other."""
    state = {}
    for name, parts in pieces(step).items():
        parts.sort(key=lambda part: part[0])
        assert all(a[1] == b[0] for a, b in zip(parts, parts[1:])) and parts[0][0] == 0, name
        state[name] = torch.cat([part[2] for part in parts])
    return state


class SharedStateTest(CliTest):

    def pair(self, *overrides, ranks=2):
        return [self.train(f"zero{zero}", *PLAIN, f"schedule.steps={STEPS}", *overrides, f"parallel.zero={zero}",
                           "run.resume=never", ranks=ranks) for zero in (0, 1)]

    def check_same(self, alone, shared):
        self.assertEqual([line["loss"] for line in exact(alone)], [line["loss"] for line in exact(shared)])
        theirs, ours = whole(step_directory(alone, STEPS)), whole(step_directory(shared, STEPS))
        self.assertEqual(theirs.keys(), ours.keys())
        for name, values in theirs.items():
            self.assertTrue(torch.equal(values, ours[name]), name)

    def model_files(self, run):
        return {path.name: path.read_bytes() for path in sorted((step_directory(run, STEPS) / "model").iterdir())}

    def test_the_same_numbers_in_half_the_room(self):
        for overrides in (["run.precision=fp64"], ["run.precision=bf16"], ["parallel.expert=2"]):
            with self.subTest(overrides):
                alone, shared = self.pair(*overrides)
                self.check_same(alone, shared)
                self.assertEqual(self.model_files(alone), self.model_files(shared))
                sizes = collections.Counter()
                for parts in pieces(step_directory(shared, STEPS)).values():
                    for begin, end, _, file in parts:
                        sizes[file] += end - begin
                self.assertEqual(len(sizes), 2)
                self.assertLessEqual(max(sizes.values()) - min(sizes.values()), 6)

    def test_a_run_goes_on_with_and_without_sharing(self):
        for precision in ("fp32", "bf16"):
            with self.subTest(precision):
                alone = self.train(f"alone-{precision}", *PLAIN, f"schedule.steps={STEPS}",
                                   f"run.precision={precision}", ranks=2)
                moving = self.train(f"moving-{precision}", *PLAIN, f"run.precision={precision}", "parallel.zero=1",
                                    "schedule.steps=1", ranks=2)
                for steps, zero in ((2, 0), (3, 1), (4, 0)):
                    self.finish(moving, *PLAIN, f"run.precision={precision}", f"parallel.zero={zero}",
                                f"schedule.steps={steps}", ranks=2)
                self.check_same(alone, moving)

    def test_masters_of_shared_runs_are_exported(self):
        alone, shared = self.pair("run.precision=bf16")
        exported = []
        for run in (alone, shared):
            self.succeed("export", step_directory(run, STEPS), f"{run.name}-out", "--dtype", "fp32")
            with safe_open(self.folder / f"{run.name}-out/model.safetensors", "np") as file:
                exported.append({name: file.get_tensor(name) for name in file.keys()})
        for name, values in exported[0].items():
            self.assertTrue(numpy.array_equal(values, exported[1][name]), name)
        self.assertTrue(any((values.view(numpy.uint32) & 0xFFFF).any() for values in exported[1].values()))

    def test_a_missing_part_is_named(self):
        _, shared = self.pair()
        step = step_directory(shared, STEPS)
        (step / "optimizer/state-1.safetensors").unlink()
        result = self.dsmoe("train", self.folder / "zero1.yaml", "run.name=zero1", *PLAIN, "schedule.steps=6",
                            f"run.resume={step}")
        self.assertEqual(result.code, 2, result)
        self.assertIn("state-1.safetensors", result.err)

    def test_the_table_and_the_dry_run_show_it(self):
        config = self.write_config("table.yaml")
        shown = {zero: self.succeed("train", config, "--dry-run", "--json", f"parallel.zero={zero}", ranks=2).json()
                 for zero in (0, 1)}
        self.assertEqual(shown[0]["memory"]["gradients"], shown[1]["memory"]["gradients"])
        self.assertAlmostEqual(shown[0]["memory"]["optimizer"], 2 * shown[1]["memory"]["optimizer"], delta=64)
        table = self.succeed("train", config, "--dry-run", "parallel.zero=1", ranks=2).out
        self.assertIn("optimizer state shared (ZeRO-1)", table)


if __name__ == "__main__":
    unittest.main()
