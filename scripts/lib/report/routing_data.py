"""What the page's interactive views of routing need, as plain numbers."""

import numpy as np

from .routing import device_share_SLD, domain_load_CLE, received_share_SLD
from .runs import TAIL

SNAPSHOTS = 40  # of a run, evenly over training


def thinned(count):
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, SNAPSHOTS))})


def relative(load, axis):
    """Load over its mean; 1 is a fair share."""
    return np.round(load / np.maximum(load.mean(axis, keepdims=True), 1e-9), 3).tolist()


def of_run(run):
    """One run: load[snapshot][layer][expert] over fair share, devices.*[snapshot][layer][device] as shares."""
    routing = run.routing
    kept = thinned(len(routing.steps))
    found = {"variant": run.variant, "seed": run.seed, "steps": [routing.steps[index] for index in kept],
             "layers": routing.layers, "load": relative(routing.load_SLE[kept].astype(float), -1)}
    if routing.received_SLD.shape[2]:
        found["devices"] = {name: np.round(shares(routing)[kept], 4).tolist()
                            for name, shares in (("pairs", device_share_SLD), ("tokens", received_share_SLD))}
    if routing.domains:
        found["domains"] = routing.domains
        found["lift"] = lift_CLE(routing)
    return found


def lift_CLE(routing):
    """How much more of a domain's choices an expert gets than of all domains' together; 1: no preference."""
    load = domain_load_CLE(routing, TAIL).astype(float)
    of_domain = load / np.maximum(load.sum(-1, keepdims=True), 1)
    together = load.sum(0) / np.maximum(load.sum((0, 2))[:, None], 1)
    return np.round(of_domain / np.maximum(together, 1e-9), 3).tolist()


def of_runs(runs):
    return [of_run(run) for run in runs if run.routing]
