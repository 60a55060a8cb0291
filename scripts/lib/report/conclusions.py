"""What the numbers allow to be said, by rules: number of seeds, intervals, number of comparisons."""

import dataclasses
import math

from .columns import DEVICE_VIO, HELD_OUT, MAX_VIO, short, shown
from .statistics import CONFIDENCE
from .student_t import quantile

JUDGED = (HELD_OUT, MAX_VIO, DEVICE_VIO)


@dataclasses.dataclass
class Conclusions:
    may: list
    may_not: list


def comparisons(summaries, inert):
    """Differences that an interval is given for and judged by."""
    return [(summary, column) for column in JUDGED for summary in summaries
            if summary.variant not in inert and summary.differences
            and len(summary.differences[column.name].values) > 1]


def capital(text):
    return text[:1].upper() + text[1:]


def interval(difference, digits):
    return f"{shown(difference.low, digits, True)} to {shown(difference.high, digits, True)}"


def judged(summary, column, count, baseline):
    """A sentence, and whether it says that there is a difference."""
    difference, digits = summary.differences[column.name], column.digits
    pairs = f"{len(difference.values)} pairs"
    if not difference.excludes_zero:
        return False, (f"{capital(column.title)}, {summary.variant} against {baseline}: no difference is shown "
                       f"(95 % interval {interval(difference, digits)}, {pairs}). That is not evidence that they are "
                       "equal: every difference inside the interval remains possible.")
    verb = "lower" if difference.mean < 0 else "higher"
    text = (f"{capital(column.title)} is {verb} with {summary.variant} than with {baseline}: by "
            f"{shown(abs(difference.mean), digits)} (95 % interval {interval(difference, digits)}, {pairs}).")
    corrected = difference.at(1 - (1 - CONFIDENCE) / count)
    if corrected.excludes_zero:
        return True, text + (f" It also holds when corrected for {count} comparisons of {column.title}."
                             if count > 1 else "")
    return True, text + (f" Corrected for {count} comparisons of {column.title} the interval, {interval(corrected, digits)}, includes 0: "
                         "a hint, to be confirmed with more seeds.")


def about_seeds(summaries, inert):
    """How much so few runs can show."""
    widths = [summary.differences[HELD_OUT.name] for summary in summaries
              if summary.differences and summary.variant not in inert]
    pairs = min((len(difference.values) for difference in widths), default=0)
    if pairs < 2:
        return ("There is one pair of runs for at least one variant: a difference between two single runs may be the "
                "seed's. Nothing can be concluded about it; at least three seeds are needed for a useful interval.")
    half = max(difference.half_width for difference in widths)
    width = quantile(CONFIDENCE, pairs - 1)
    return (f"With {pairs} seeds a 95 % interval reaches {width:.1f} standard errors to each side of the mean"
            + (", which is very wide" if pairs == 2 else "")
            + f". Differences in held-out loss below {shown(half, HELD_OUT.digits)} would not have been seen here for "
            "every variant.")


def about_chance(count):
    expected = count * (1 - CONFIDENCE)
    return (f"{count} intervals are judged. If nothing differed at all, about {expected:.1f} of them would still exclude 0 "
            "by chance. The corrected intervals (Bonferroni, over the variants, for each quantity) allow for it.")


def about_scope(study, runs):
    active = {variant["parameters"]["active"] for variant in study["variants"].values()}
    sizes = " to ".join(short(size) for size in sorted({min(active), max(active)}))
    return (f"These are models of {sizes} active parameters after {short(runs[0].tokens)} tokens. Whether an order holds "
            "for larger models, longer training, other data or other factors is not shown here.")


def about_floor(summaries, floor):
    """Variants that are about as even as chance would be."""
    random = floor.get(MAX_VIO.name)
    even = [summary.variant for summary in summaries if random and summary.mean(MAX_VIO.name) < 1.25 * random]
    if not even:
        return []
    return [f"MaxVio of {', '.join(even)} is within a quarter of what perfectly random routing shows "
            f"({shown(random, MAX_VIO.digits)}): a further gain in balance could hardly be measured in one step's batch."]


def conclude(study, runs, summaries, inert, floor):
    result = Conclusions([], [])
    found = comparisons(summaries, inert)
    for summary, column in found:
        family = sum(other is column for _, other in found)
        differs, text = judged(summary, column, family, study["baseline"])
        (result.may if differs else result.may_not).append(text)
    for name in inert:
        result.may.append(f"{name} is an inert switch: its losses are bit for bit those of {study['baseline']}, for every "
                          "seed. What it sets has no effect here, so it is left out of the comparisons.")
    result.may += about_floor(summaries, floor)
    result.may_not.append(about_seeds(summaries, inert))
    if len(found) > 1:
        result.may_not.append(about_chance(len(found)))
    if len(summaries) > 2:
        result.may_not.append(f"Variants were compared with {study['baseline']}, not with one another: that one excludes 0 "
                              "and another does not is no difference between the two.")
    result.may_not.append(about_scope(study, runs))
    result.may_not.append("The intervals take differences between seeds to be about normal, which so few cannot show.")
    return result


def noise_floor(runs):
    """The mean over runs of what perfectly random routing would show; {} where no run tells it."""
    floors = [run.noise_floor for run in runs if run.noise_floor]
    keys = dict.fromkeys(key for floor in floors for key in floor)
    values = {key: [floor[key] for floor in floors if isinstance(floor.get(key), (int, float))] for key in keys}
    return {key: math.fsum(found) / len(found) for key, found in values.items() if found}
