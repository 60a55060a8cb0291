"""One number a run; means over seeds; paired differences to the baseline with t intervals."""

import dataclasses
import math

import numpy as np

from .columns import ALSO, TABLE
from .student_t import quantile

CONFIDENCE = 0.95
LOADS = ("max_vio", "min_vio", "avg_vio", "cv", "device_vio", "received_vio", "dead", "starved", "load_entropy",
         "router_entropy", "topk_mass", "drop_rate", "tokens_lost", "devices_per_token", "interference_ratio",
         "interference_cosine")


def held_out(evaluation):
    """Token-weighted mean loss over the held-out sources."""
    tokens = sum(source["tokens"] for source in evaluation.values())
    return sum(source["loss"] * source["tokens"] for source in evaluation.values()) / tokens


def with_drop(evaluation):
    """The same where tokens were dropped; NaN where a source was not evaluated so."""
    dropped = {name: source.get("with_drop") for name, source in evaluation.items()}
    return held_out(dropped) if all(dropped.values()) else math.nan


def specialisation(evaluation):
    """Token-weighted mean over the held-out sources that tell it, those of at least two domains; NaN: none does."""
    telling = [source for source in evaluation.values() if source.get("specialisation") is not None]
    tokens = sum(source["tokens"] for source in telling)
    return sum(source["specialisation"] * source["tokens"] for source in telling) / tokens if telling else math.nan


def bits_per_byte(evaluation):
    """Over all held-out bytes; a source's bytes follow from its loss, tokens and bits per byte."""
    bits = {name: source["loss"] * source["tokens"] / math.log(2) for name, source in evaluation.items()}
    if any(not source.get("bits_per_byte") for source in evaluation.values()):
        return math.nan
    return sum(bits.values()) / sum(bits[name] / source["bits_per_byte"] for name, source in evaluation.items())


def mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


def run_numbers(run):
    """{column: number} of one run. Loads and traffic: over the last 20 % of steps."""
    numbers = {name: mean(run.tail(name)) for name in LOADS}
    per_step = np.diff(run.series["tokens"], prepend=0)[-len(run.tail("bytes")):]
    numbers["mb_per_token"] = float(run.tail("bytes").sum() / per_step.sum() / 1e6)
    numbers["training_loss"] = mean(run.tail("loss"))
    numbers["tokens_per_second"] = float(np.median(run.series["tokens_per_second"]))
    return numbers | evaluated(run.evaluations[-1][1])


def evaluated(last):
    """{column: number} of the evaluation after the last step."""
    loss, dropping = held_out(last), with_drop(last)
    return {"held_out_loss": loss, "bits_per_byte": bits_per_byte(last), "loss_with_drop": dropping,
            "drop_cost": dropping - loss, "held_out_specialisation": specialisation(last)}


@dataclasses.dataclass(frozen=True)
class Difference:
    """Paired by seed: variant - baseline."""
    values: list
    confidence: float = CONFIDENCE

    @property
    def mean(self):
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def half_width(self):
        """Of the t interval; NaN with fewer than two pairs."""
        count = len(self.values)
        if count < 2:
            return math.nan
        return quantile(self.confidence, count - 1) * float(np.std(self.values, ddof=1)) / math.sqrt(count)

    @property
    def low(self):
        return self.mean - self.half_width

    @property
    def high(self):
        return self.mean + self.half_width

    @property
    def excludes_zero(self):
        return self.low > 0 or self.high < 0

    def at(self, confidence):
        return Difference(self.values, confidence)


@dataclasses.dataclass(frozen=True)
class Summary:
    """One variant."""
    variant: str
    seeds: list
    numbers: dict      # seed -> {column: number}
    differences: dict  # column -> Difference; empty for the baseline

    def values(self, column):
        return [self.numbers[seed][column] for seed in self.seeds]

    def mean(self, column):
        return float(np.mean(self.values(column)))

    def deviation(self, column):
        """Over seeds; NaN for one."""
        return float(np.std(self.values(column), ddof=1)) if len(self.seeds) > 1 else math.nan


def paired(numbers, baseline, column):
    pairs = [(numbers[seed][column], baseline[seed][column]) for seed in numbers if seed in baseline]
    return Difference([one - other for one, other in pairs if not math.isnan(one - other)])


def summaries(study, runs):
    """The variants that have a finished run, in the study's order."""
    numbers = {}
    for run in runs:
        numbers.setdefault(run.variant, {})[run.seed] = run_numbers(run)
    baseline = numbers[study["baseline"]]
    return [Summary(name, list(numbers[name]), numbers[name], {} if name == study["baseline"] else {
                column.name: paired(numbers[name], baseline, column.name) for column in (*TABLE, *ALSO)})
            for name in study["variants"] if name in numbers]
