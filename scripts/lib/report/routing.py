"""routing/step-N.safetensors of a run: who was chosen, at some steps of training."""

import dataclasses
import json

import numpy as np

from ablation.errors import BadInput


@dataclasses.dataclass(frozen=True)
class Routing:
    """S snapshots, L layers of experts, E experts, D device groups."""
    steps: list
    layers: list
    domains: list
    load_SLE: np.ndarray
    received_SLD: np.ndarray
    visits_SLV: np.ndarray         # V = D + 1: tokens by the number of devices that they visit
    by_domain_SCLE: np.ndarray     # C domains

    def last(self, share):
        """Indices of the snapshots in the last share of the steps; at least one."""
        late = [index for index, step in enumerate(self.steps) if step > (1 - share) * self.steps[-1]]
        return late or [len(self.steps) - 1]


def read_snapshot(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = {key: json.loads((file.metadata() or {}).get(key, "[]")) for key in ("layers", "domains")}
            return names, {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, ValueError) as error:
        raise BadInput(f"{path}: {error}", "remove that file, the report does without it") from None


def read_routing(folder):
    """None where a run left no such files."""
    paths = sorted(folder.glob("step-*.safetensors"), key=lambda path: int(path.stem.split("-")[1]))
    if not paths:
        return None
    snapshots = [read_snapshot(path) for path in paths]
    names = snapshots[-1][0]

    def stacked(key, default):
        return np.stack([tensors.get(key, default) for _, tensors in snapshots]).astype(np.int64)

    load = stacked("load", None)
    layers, experts = load.shape[1:]
    return Routing([int(path.stem.split("-")[1]) for path in paths], names["layers"] or list(range(layers)),
                   names["domains"], load, stacked("received", np.zeros((layers, 0))),
                   stacked("devices_per_token", np.zeros((layers, 0))),
                   stacked("domain_load", np.zeros((0, layers, experts))))


def device_share_SLD(routing):
    """Share of the chosen pairs that fall to each device group, whose experts are contiguous."""
    devices = routing.received_SLD.shape[2]
    snapshots, layers, _ = routing.load_SLE.shape
    sums = routing.load_SLE.reshape(snapshots, layers, devices, -1).sum(-1)
    return sums / np.maximum(sums.sum(-1, keepdims=True), 1)


def received_share_SLD(routing):
    """Share of the tokens sent: each (token, device group) pair once, whatever number of experts it meets there."""
    return routing.received_SLD / np.maximum(routing.received_SLD.sum(-1, keepdims=True), 1)


def visit_share(routing, share):
    """How often a token visits 0, 1, ... devices at the end of training, all layers together."""
    counts = routing.visits_SLV[routing.last(share)].sum((0, 1))
    return counts / max(counts.sum(), 1)


def domain_load_CLE(routing, share):
    return routing.by_domain_SCLE[routing.last(share)].sum(0)


def specialisation(routing, share):
    """Jensen-Shannon divergence between the domains' choices of experts, mean over layers, / log(domains).

    0: every domain uses the experts alike; 1: no two domains share an expert. NaN with fewer than two domains.
    """
    load = domain_load_CLE(routing, share).astype(float)
    load = load[load.sum((1, 2)) > 0]
    if len(load) < 2:
        return float("nan")
    chosen = load / np.maximum(load.sum(-1, keepdims=True), 1)
    mixed = chosen.mean(0)
    return float(np.mean(entropy(mixed) - entropy(chosen).mean(0)) / np.log(len(load)))


def entropy(shares):
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)
