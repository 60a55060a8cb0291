"""What the tests of this folder share: a tiny study in a folder of its own, and the two scripts."""

import csv
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/cli"), str(ROOT / "scripts/lib")]
from support import PYTHON, TINY, CliTest, Result, environment, merged

OFF = {"balance.expert": 0, "balance.device": 0, "balance.communication": 0}
STUDY = {
    "name": "tiny", "question": "Does the expert-level loss even the load?", "base": "base.yaml", "seeds": [1, 2],
    "baseline": "none", "variants": {
        "none": OFF,
        "expert": OFF | {"balance.expert": 0.5},
        # Nothing is dropped, so a share of protected sequences changes nothing.
        "inert": OFF | {"drop.protected": 0.5}}}
BASE = merged(TINY, {"run": {"precision": "fp32"}, "drop": {"kind": "none"}, "log": {"tensorboard": False}})


def script(name, folder, *arguments, timeout=120, **variables):
    done = subprocess.run([PYTHON, ROOT / "scripts" / name, *map(str, arguments)], cwd=folder,
                          env=environment(**variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout)
    return Result(done.returncode, done.stdout, done.stderr)


class StudyTest(CliTest):
    """The corpus, base.yaml, and study.yaml with what a test changes in it."""

    def setUp(self):
        super().setUp()
        self.write_base()

    def write_base(self, **changes):
        self.write_config("base.yaml", base=BASE, **changes)

    def write_study(self, **changes):
        """A change of None takes the key out."""
        study = {key: value for key, value in (STUDY | changes).items() if value is not None}
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))

    def ablate(self, *arguments, **variables):
        return script("ablate", self.folder, "study.yaml", *arguments, **variables)

    def run_folder(self, variant, seed):
        return self.folder / "runs/studies/tiny" / variant / f"seed-{seed}"

    def assert_refused(self, result, *words):
        self.assertEqual(result.code, 2, result)
        self.assertIn("hint: ", result.err)
        for word in words:
            self.assertIn(word, result.err)


def rows(path):
    """A CSV file as {first cell: {column: text}}."""
    with open(path, newline="", encoding="utf-8") as file:
        return {next(iter(row.values())): row for row in csv.DictReader(file)}
