"""What the numbers allow to be said, by rules: number of seeds, intervals, number of comparisons."""

import dataclasses
import math

from .columns import DEVICE_VIO, DROP_COST, HELD_OUT, MAX_VIO, RECEIVED_VIO, WITH_DROP, short, shown
from .statistics import CONFIDENCE, Difference, Ratio, Summary
from .student_t import quantile

JUDGED = (HELD_OUT, MAX_VIO, DEVICE_VIO, RECEIVED_VIO)
SAME_RUN = "the same run without dropping"


@dataclasses.dataclass
class Conclusions:
    may: list
    may_not: list


def comparisons(summaries, inert):
    """Differences that an interval is given for and judged by."""
    return [(summary, column) for column in JUDGED for summary in summaries
            if summary.variant not in inert and summary.differences
            and len(summary.differences[column.name].values) > 1]


def drop_costs(summaries):
    """The loss with dropping against the one without, paired within each run; of variants evaluated with both."""
    costs = {each.variant: [cost for cost in each.values(DROP_COST.name) if cost == cost] for each in summaries}
    return [Summary(name, [], {}, {WITH_DROP.name: Difference(values)}) for name, values in costs.items() if values]


def capital(text):
    return text[:1].upper() + text[1:]


def interval(change, digits):
    signed = not isinstance(change, Ratio)
    return f"{shown(change.low, digits, signed)} to {shown(change.high, digits, signed)}"


def corrected(change, count):
    return change.at(1 - (1 - CONFIDENCE) / count)


def told(column, summary):
    change = summary.change(column.name)
    size = (f"by a factor of {shown(change.mean, column.digits)}" if isinstance(change, Ratio)
            else f"by {shown(change.mean, column.digits, True)}")
    return f"{summary.variant} {size} (95 % interval {interval(change, column.digits)})"


def differing(column, found, count, baseline):
    """Which variants differ, and for which of them that outlasts the correction for many comparisons."""
    text = f"{capital(column.title)} differs from that of {baseline}: "
    text += ", ".join(told(column, each) for each in found) + "."
    if count < 2:
        return text
    holds = [each.variant for each in found if corrected(each.change(column.name), count).excludes_zero]
    hints = [each.variant for each in found if each.variant not in holds]
    if not hints:
        return text + f" This also holds when corrected for {count} comparisons."
    if not holds:
        return text + (f" Corrected for {count} comparisons every interval includes no change: hints, to be confirmed with "
                       "more seeds.")
    return text + (f" Corrected for {count} comparisons it holds for {', '.join(holds)}; for {', '.join(hints)} it is "
                   "a hint.")


def factor(change, digits):
    return ("a factor of " if isinstance(change, Ratio) else "") + interval(change, digits)


def undecided(column, found, baseline):
    told_all = ", ".join(f"{each.variant} ({factor(each.change(column.name), column.digits)})" for each in found)
    return (f"{capital(column.title)}: no difference to {baseline} is shown for {told_all}. That is not evidence of "
            "equality: every difference inside these 95 % intervals remains possible.")


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
    return (f"{count} intervals are judged. If nothing differed at all, about {expected:.1f} of them would still "
            "exclude no change by chance. The corrected intervals (Bonferroni, per quantity, over the variants) allow for it.")


def about_scope(study, runs):
    active = {variant["parameters"]["active"] for variant in study["variants"].values()}
    sizes = " to ".join(short(size) for size in sorted({min(active), max(active)}))
    return (f"These are models of {sizes} active parameters after {short(runs[0].tokens)} tokens. Whether an order "
            "holds for larger models, longer training, other data or other factors is not shown here.")


def about_floor(summaries, floor):
    """Variants that are about as even as chance would be."""
    random = floor.get(MAX_VIO.name)
    even = [summary.variant for summary in summaries if random and summary.mean(MAX_VIO.name) < 1.25 * random]
    if not even:
        return []
    return [f"MaxVio of {', '.join(even)} is within a quarter of what perfectly random routing shows "
            f"({shown(random, MAX_VIO.digits)}): a further gain could hardly be measured in one step's batch."]


def judge(result, column, judged, other):
    """Says which of these differ from the other, and of which that is not shown."""
    clear = [summary for summary in judged if summary.change(column.name).excludes_zero]
    unclear = [summary for summary in judged if summary not in clear]
    if clear:
        result.may.append(differing(column, clear, len(judged), other))
    if unclear:
        result.may_not.append(undecided(column, unclear, other))


def judge_dropping(result, summaries):
    """Returns how many intervals that took."""
    costs = drop_costs(summaries)
    several = [each for each in costs if len(each.differences[WITH_DROP.name].values) > 1]
    judge(result, WITH_DROP, several, SAME_RUN)
    alone = [f"{each.variant} ({shown(each.differences[WITH_DROP.name].mean, WITH_DROP.digits, True)})"
             for each in costs if each not in several]
    if alone:
        result.may_not.append(f"{capital(WITH_DROP.title)}, against {SAME_RUN}: one run each of {', '.join(alone)}, "
                              "from which no interval follows.")
    return len(several)


def conclude(study, runs, summaries, inert, floor):
    result = Conclusions([], [])
    found = comparisons(summaries, inert)
    for column in JUDGED:
        judge(result, column, [summary for summary, other in found if other is column], study["baseline"])
    intervals = len(found) + judge_dropping(result, summaries)
    for name in inert:
        result.may.append(f"{name} is an inert switch: its losses are bit for bit those of {study['baseline']}, for "
                          "every seed. What it sets has no effect here, so it is left out of the comparisons.")
    result.may += about_floor(summaries, floor)
    result.may_not.append(about_seeds(summaries, inert))
    if intervals > 1:
        result.may_not.append(about_chance(intervals))
    if len(summaries) > 2:
        result.may_not.append(f"Variants were compared with {study['baseline']}, not with one another: that one "
                              "excludes no change and another does not is no difference between the two.")
    result.may_not.append(about_scope(study, runs))
    result.may_not.append("The intervals take differences (of violations: logarithms of ratios) to be about normal "
                          "over seeds, which so few cannot show.")
    return result


def noise_floor(runs):
    """What perfectly random routing would show, where the runs agree on it within a tenth; their mean."""
    floors = [run.noise_floor for run in runs if run.noise_floor]
    keys = dict.fromkeys(key for floor in floors for key in floor)
    values = {key: [floor[key] for floor in floors if isinstance(floor.get(key), (int, float))] for key in keys}
    return {key: math.fsum(found) / len(found) for key, found in values.items()
            if found and max(found) <= 1.1 * min(found) + 1e-9}
