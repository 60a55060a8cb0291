"""One number a run; means over seeds; paired differences to the baseline with t intervals."""

import dataclasses
import math

import numpy as np

from .columns import ALSO, TABLE, VIOLATIONS
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
class Ratio:
    """Paired by seed: variant / baseline, judged by its logarithm.

    For violations, whose spread over seeds is in proportion to their size: 0.9 ± 0.4 here and 0.08 ± 0.01 there.
    """
    logs: Difference

    @property
    def values(self):
        return [math.exp(value) for value in self.logs.values]

    @property
    def mean(self):
        """The geometric one."""
        return math.exp(self.logs.mean)

    @property
    def low(self):
        return math.exp(self.logs.low)

    @property
    def high(self):
        return math.exp(self.logs.high)

    @property
    def excludes_zero(self):
        """Whether the interval leaves out 1, no change."""
        return self.logs.excludes_zero

    def at(self, confidence):
        return Ratio(self.logs.at(confidence))


@dataclasses.dataclass(frozen=True)
class Summary:
    """One variant."""
    variant: str
    seeds: list
    numbers: dict      # seed -> {column: number}
    differences: dict  # column -> Difference; empty for the baseline
    ratios: dict = dataclasses.field(default_factory=dict)  # column -> Ratio, of violations that are never 0

    def change(self, column):
        """Against the baseline: what is judged."""
        return self.ratios.get(column) or self.differences[column]

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


def ratios(numbers, baseline):
    """{column: Ratio} of the violations, where none is 0."""
    found = {}
    for column in VIOLATIONS:
        pairs = [(numbers[seed][column.name], baseline[seed][column.name]) for seed in numbers if seed in baseline]
        if pairs and all(one > 0 and other > 0 for one, other in pairs):
            found[column.name] = Ratio(Difference([math.log(one / other) for one, other in pairs]))
    return found


def summarised(name, numbers, baseline):
    """A variant against the baseline's numbers; None: it is the baseline."""
    if baseline is None:
        return Summary(name, list(numbers), numbers, {})
    differences = {column.name: paired(numbers, baseline, column.name) for column in (*TABLE, *ALSO)}
    return Summary(name, list(numbers), numbers, differences, ratios(numbers, baseline))


def summaries(study, runs):
    """The variants that have a finished run, in the study's order."""
    numbers = {}
    for run in runs:
        numbers.setdefault(run.variant, {})[run.seed] = run_numbers(run)
    baseline = numbers[study["baseline"]]
    return [summarised(name, numbers[name], None if name == study["baseline"] else baseline)
            for name in study["variants"] if name in numbers]
