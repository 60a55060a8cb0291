"""The finished runs of a study, read from their folders."""

import dataclasses
import json
import math
import pathlib

import numpy as np

from ablation import configuration
from ablation.errors import BadInput

from .routing import Routing, read_routing

TAIL = 0.2  # share of the steps, the last ones, that stand for the end of training
SERIES = {"loss": "loss", "max_vio": "load.max_vio", "min_vio": "load.min_vio", "avg_vio": "load.avg_vio",
          "cv": "load.cv", "device_vio": "load.device_vio", "received_vio": "load.received_vio",
          "dead": "load.dead", "starved": "load.starved", "load_entropy": "load.entropy",
          "router_entropy": "router.entropy", "topk_mass": "router.topk_mass", "tokens_lost": "drop.tokens_lost",
          "drop_rate": "drop.rate",
          "interference_ratio": "interference.ratio", "interference_cosine": "interference.cosine",
          "devices_per_token": "traffic.devices_per_token", "bytes": "traffic.bytes",
          "tokens_per_second": "tokens_per_second", "tokens": "tokens", "step": "step"}


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    variant: str
    seed: int
    folder: pathlib.Path
    config: dict
    series: dict       # name -> array, one number a step, NaN where a step tells none
    evaluations: list  # (tokens seen, {source: {loss, tokens, ...}}), in order
    routing: Routing | None
    noise_floor: dict

    @property
    def label(self):
        return f"{self.variant}/seed-{self.seed}"

    @property
    def tokens(self):
        return int(self.series["tokens"][-1])

    def tail(self, name):
        """Over the last steps."""
        steps = self.series["step"]
        return self.series[name][steps > (1 - TAIL) * steps[-1]]


def number(line, path):
    for key in path.split("."):
        line = line.get(key) if isinstance(line, dict) else None
    return math.nan if line is None else float(line)


def read_lines(path):
    """Every step of metrics.jsonl."""
    lines = []
    for row, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            lines.append(json.loads(text))
        except ValueError:
            raise BadInput(f"{path}:{row}: not a line of metrics",
                           "remove that run's folder and run it again") from None
    if not lines:
        raise BadInput(f"{path}: no steps in it", "remove that run's folder and run it again")
    return lines


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({error})", "scripts/ablate writes it anew") from None


def read_run(entry, folder):
    """The run; BadInput when the folder holds another configuration than the study asked for."""
    config = configuration.parse((folder / "config.yaml").read_text(encoding="utf-8"))
    if configuration.digest(config) != entry["hash"]:
        raise BadInput(f"{folder}: its configuration ({configuration.digest(config)}) is not the study's "
                       f"({entry['hash']})", "remove that folder and run scripts/ablate again")
    lines = read_lines(folder / "metrics.jsonl")
    series = {name: np.array([number(line, path) for line in lines]) for name, path in SERIES.items()}
    evaluations = [(line["tokens"], line["eval"]) for line in lines if line.get("eval")]
    if not evaluations:
        raise BadInput(f"{folder}/metrics.jsonl: no evaluation in it", "give the base recipe a data.eval")
    floor = folder / "noise_floor.json"
    return FinishedRun(entry["variant"], entry["seed"], folder, config, series, evaluations,
                       read_routing(folder / "routing"), read_json(floor) if floor.exists() else {})


def read_study(directory):
    """study.json, and the finished runs in its order."""
    path = directory / "study.json"
    if not path.exists():
        raise BadInput(f"{directory}: not a study's folder, it has no study.json", "scripts/ablate makes one")
    study = read_json(path)
    runs = [read_run(entry, directory / entry["folder"]) for entry in study["runs"]
            if (directory / entry["folder"] / "DONE").exists()]
    if not any(run.variant == study["baseline"] for run in runs):
        raise BadInput(f"{directory}: no run of the baseline, {study['baseline']}, is finished",
                       "run scripts/ablate again, it goes on where it was")
    return study, runs
