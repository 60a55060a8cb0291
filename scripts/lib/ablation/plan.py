"""Which runs a study consists of, each with its resolved configuration, its command and its folder."""

import dataclasses
import pathlib
import re

from . import configuration, program
from .errors import BadInput


@dataclasses.dataclass(frozen=True)
class Run:
    variant: str
    seed: int
    folder: pathlib.Path
    command: list
    config: dict      # flat, resolved
    parameters: dict  # total, active
    kv_cache: dict    # elements_per_token, bytes_per_token: all layers together
    steps: int
    tokens: int
    threads: str

    @property
    def label(self):
        return f"{self.variant}/seed-{self.seed}"

    @property
    def hash(self):
        return configuration.digest(self.config)


def overrides(study, point, seed, name=None):
    own = {"run.name": name or f"seed-{seed}", "run.directory": str(study.directory / point.name),
           "run.seed": str(seed)}
    changes = {key: setting.value for key, setting in point.settings.items()}
    return [f"{key}={value}" for key, value in (own | changes).items()]


def located(study, point, error):
    """dsmoe's complaint about a key=value, with the line of the study that asks for it."""
    problem, hint = re.fullmatch(r"(?s)error: (.*)\nhint: (.*)", str(error)).groups()

    def place(match):
        setting = point.settings.get(match[1])
        return f"{study.path}:{setting.line if setting else point.line}: variant {point.name}: {match[1]}"

    moved, count = re.subn(r"command line: ([\w.]+)", place, problem)
    return BadInput(moved if count else f"{study.path}:{point.line}: variant {point.name}: {problem}", hint)


def runs_of(study, point):
    """The runs of one variant: resolved once by dsmoe, the seeds filled in."""
    try:
        answer = program.dry_run(study.base, study.ranks, overrides(study, point, study.seeds[0], "dry-run"))
    except BadInput as error:
        raise located(study, point, error) from None
    flat = configuration.parse(answer["config"])
    steps, tokens = answer["length"]["steps"], answer["length"]["tokens"]
    for seed in study.seeds:
        folder = study.directory / point.name / f"seed-{seed}"
        command = program.command(study.base, study.ranks, overrides(study, point, seed))
        config = flat | {"run.seed": seed, "run.name": folder.name}
        yield Run(point.name, seed, folder, command, config, answer["parameters"], answer["kv_cache"], steps, tokens,
                  str(flat["run.threads"]))


def check_distinct(study, firsts):
    """Two variants that are one configuration under two names would be counted as two."""
    seen = {}
    for point, run in zip(study.points, firsts):
        twin = seen.setdefault(run.hash, point)
        if twin is not point:
            raise BadInput(f"{study.path}:{point.line}: variants {twin.name} and {point.name} are the same "
                           "configuration", "remove one of them")


EVALUATION = ("data.eval", "data.tokenizer", "data.sequence_length", "eval.batches", "eval.drop")
PLAIN = (False, "both")  # of eval.drop: the loss is that without dropping


def evaluated_alike(key, one, other):
    return one == other or key == "eval.drop" and one in PLAIN and other in PLAIN


def check_comparable(study, firsts):
    """Losses can be compared only after as many tokens, on the same held-out text."""
    if not firsts[0].config["data.eval"]:
        raise BadInput(f"{study.base}: data.eval names no held-out text to compare variants on",
                       "data.eval: [{path: corpus/webster.eval.jsonl, name: webster}]")
    for point, run in zip(study.points, firsts):
        if run.tokens != firsts[0].tokens:
            raise BadInput(f"{study.path}:{point.line}: {firsts[0].variant} trains on {firsts[0].tokens:,} tokens, "
                           f"{point.name} on {run.tokens:,}", "give all variants the same schedule.tokens")
        for key in EVALUATION:
            if not evaluated_alike(key, firsts[0].config[key], run.config[key]):
                raise BadInput(f"{study.path}:{point.line}: {firsts[0].variant} and {point.name} are evaluated "
                               f"differently: {key} is {firsts[0].config[key]} and {run.config[key]}",
                               f"keep {key} the same in all variants")


def plan(study):
    """All runs: seed by seed, so that a study that is cut short has whole pairs."""
    by_point = [list(runs_of(study, point)) for point in study.points]
    firsts = [runs[0] for runs in by_point]
    check_distinct(study, firsts)
    check_comparable(study, firsts)
    return [runs[index] for index in range(len(study.seeds)) for runs in by_point]
