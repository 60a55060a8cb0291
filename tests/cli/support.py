"""What the tests of this folder share: a tiny run, a made-up corpus, and dsmoe alone or under mpirun.

The binary is $DSMOE_BINARY, else build/release/dsmoe. Every run gets one thread a rank, so that tests
do not disturb each other and results are bitwise repeatable.
"""
import copy
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("DSMOE_BINARY", str(ROOT / "build/release/dsmoe"))
PYTHON = os.environ.get("DSMOE_PYTHON", str(ROOT / ".venv/bin/python"))
LIMIT = 240  # seconds that one command may take before it counts as hanging

TINY = {
    "run": {"name": "tiny", "directory": "runs", "precision": "fp64", "threads": 1},
    "model": {
        "hidden_size": 32, "num_hidden_layers": 3, "first_k_dense_replace": 1, "intermediate_size": 48,
        "num_attention_heads": 2, "q_lora_rank": 12, "kv_lora_rank": 8, "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 8, "n_shared_experts": 1,
        "num_experts_per_tok": 3, "moe_intermediate_size": 12, "topk_method": "group_limited_greedy",
        "n_group": 4, "topk_group": 2, "initializer_range": 0.1, "max_position_embeddings": 128},
    "parallel": {"expert": 1},
    "data": {
        "sequence_length": 32,
        "train": [{"path": "corpus/a.jsonl", "weight": 2.0, "name": "a"},
                  {"path": "corpus/b.txt", "weight": 1.0, "name": "b"}],
        "eval": [{"path": "corpus/held.jsonl", "name": "held"}]},
    "batch": {"sequences": 8, "micro_sequences": 2, "pool": 2},
    "optimizer": {"lr": 0.01},
    "schedule": {"steps": 6, "warmup_steps": 2, "kind": "step"},
    "balance": {"expert": 0.02, "device": 0.05, "communication": 0.02},
    "drop": {"kind": "device", "capacity": 1.0, "protected": 0.25},
    "checkpoint": {"every": 0},
    "log": {"every": 2},
    "eval": {"every": 3, "batches": 1},
}

WORDS = ("the a of and in to is was river stone light word hand house morning small old written under "
         "between quiet slowly carried opened found behind winter letter music table window").split()


def sentence(dice):
    words = [dice.choice(WORDS) for _ in range(dice.randint(4, 11))]
    return " ".join(words).capitalize() + "."


def documents(seed, count):
    """The same English-like texts for the same seed; lengths around and above a tiny sequence."""
    dice = random.Random(seed)
    return [" ".join(sentence(dice) for _ in range(dice.randint(1, 4))) for _ in range(count)]


def write_jsonl(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text, "domain": "made"}) + "\n" for text in texts))


def write_corpus(folder):
    """Little enough that a run passes over it more than once."""
    write_jsonl(folder / "a.jsonl", documents(1, 12))
    (folder / "b.txt").write_text("\n".join(documents(2, 8)))
    write_jsonl(folder / "held.jsonl", documents(3, 6))


def merged(base, changes):
    result = copy.deepcopy(base)
    for section, values in changes.items():
        if isinstance(values, dict) and isinstance(result.get(section), dict):
            result[section] = merged(result[section], values)
        else:
            result[section] = values
    return result


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def environment(**extra):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMPI_", "PMIX_"))}
    # Without ptrace rights, as in many containers, the default copies noisily and slowly.
    return kept | {"OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMP_WAIT_POLICY": "passive",
                   "NO_COLOR": "1"} | extra


def mpirun(ranks):
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
            "--timeout", str(LIMIT), "-np", str(ranks)]


class CliTest(unittest.TestCase):
    """A test with a folder of its own, which holds the corpus and is the working directory."""

    def setUp(self):
        if shutil.which(BINARY) is None:
            self.fail(f"no program at {BINARY}: build it, or set DSMOE_BINARY")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        write_corpus(self.folder / "corpus")

    def write_config(self, name="config.yaml", base=TINY, **changes):
        """The tiny run with some sections changed, as a YAML file. Returns its path."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(merged(base, changes), sort_keys=False))
        return str(path)

    def command(self, *arguments, ranks=0, wrapper=()):
        """ranks = 0: alone, without mpirun."""
        return [*(mpirun(ranks) if ranks else []), *wrapper, BINARY, *map(str, arguments)]

    def dsmoe(self, *arguments, ranks=0, wrapper=(), timeout=LIMIT, **options):
        done = subprocess.run(self.command(*arguments, ranks=ranks, wrapper=wrapper), cwd=self.folder,
                              env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=timeout, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    def succeed(self, *arguments, **options):
        result = self.dsmoe(*arguments, **options)
        self.assertEqual(result.code, 0, result)
        return result

    def train(self, name, *overrides, ranks=0, **changes):
        """Trains the tiny run under `name`; returns its folder."""
        config = self.write_config(f"{name}.yaml", **changes)
        self.succeed("train", config, f"run.name={name}", *overrides, ranks=ranks)
        return self.folder / "runs" / name

    def finish(self, run, *overrides, ranks=0):
        """Starts the run of that folder again with the configuration that it was started with."""
        config = self.folder / f"{run.name}.yaml"
        return self.succeed("train", config, f"run.name={run.name}", *overrides, ranks=ranks)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def flatten(value, prefix=""):
    """Nested objects and lists as {dotted key: leaf}."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {prefix: value}
    flat = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


# Design section 8.6: what no layout changes. `lr`, `step` and `skipped` follow from the configuration.
SAME_ON_ANY_LAYOUT = re.compile(
    r"(layers\.\d+\.)?(step|tokens|loss|loss_total|grad_norm|lr|skipped|layer|balance\..*|load\..*|drop\..*|"
    r"interference\..*|traffic\.devices_per_token)$|eval\..*")
# What depends on the moment: times and memory.
MOMENTARY = re.compile(r"seconds$|tokens_per_second$|time\..*|memory_bytes$")


def selected(line, pattern, keep=True):
    return {key: value for key, value in flatten(line).items() if bool(pattern.match(key)) is keep}


def exact(run):
    """What a resumed run must repeat, a line a step, numbers as the text they were written as."""
    lines = (json.loads(line, parse_float=str) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [selected(line, MOMENTARY, keep=False) for line in lines]


def step_directory(run, step):
    return run / "checkpoints" / f"step-{step:08}"


def files_below(folder):
    """{relative path: bytes} of all files."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}
