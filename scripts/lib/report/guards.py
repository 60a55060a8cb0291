"""What must hold before runs are compared, and what looks like a comparison but is none."""

import numpy as np

from ablation.errors import BadInput


def evaluated_on(run):
    """{source: tokens scored}, and what the sources are."""
    return {name: source["tokens"] for name, source in run.evaluations[-1][1].items()}


def check_comparable(runs):
    """The same number of training tokens, the same held-out text, scored at the end."""
    first = runs[0]
    for run in runs:
        if run.tokens != first.tokens:
            raise BadInput(f"{first.label} was trained on {first.tokens:,} tokens, {run.label} on {run.tokens:,}: "
                           "their losses cannot be compared", "give all variants the same schedule.tokens")
        if run.evaluations[-1][0] != run.tokens:
            raise BadInput(f"{run.label} was last evaluated after {run.evaluations[-1][0]:,} of {run.tokens:,} tokens",
                           "remove its DONE and run scripts/ablate again")
        if evaluated_on(run) != evaluated_on(first) or run.config["data.eval"] != first.config["data.eval"]:
            raise BadInput(f"{first.label} and {run.label} were evaluated on different text: {evaluated_on(first)} and "
                           f"{evaluated_on(run)} tokens", "keep data.eval and eval.batches the same in all variants")


def alike(one, other):
    """In what both tell: one of them may also have been evaluated with dropping."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(alike(one[key], other[key]) for key in one.keys() & other.keys())
    return one == other


def same_bits(run, other):
    one, two = dict(run.evaluations), dict(other.evaluations)
    return np.array_equal(run.series["loss"], other.series["loss"]) and one.keys() == two.keys() and alike(one, two)


def inert(study, runs):
    """Variants whose losses are, for every seed, bit for bit the baseline's: what they switch does nothing."""
    by_place = {(run.variant, run.seed): run for run in runs}
    baseline = {run.seed: run for run in runs if run.variant == study["baseline"]}
    found = []
    for name in study["variants"]:
        pairs = [(by_place[name, seed], other) for seed, other in baseline.items() if (name, seed) in by_place]
        if name != study["baseline"] and pairs and all(same_bits(run, other) for run, other in pairs):
            found.append(name)
    return found


def unfinished(study, runs):
    done = {(run.variant, run.seed) for run in runs}
    return [f"{entry['variant']}/seed-{entry['seed']}" for entry in study["runs"]
            if (entry["variant"], entry["seed"]) not in done]
