"""What is told of a run, as one number each: the name in the CSV files, the heading, the format."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    title: str
    digits: int
    meaning: str
    factor: float = 1.0  # from the CSV's unit to the table's


HELD_OUT = Column("held_out_loss", "held-out loss", 4, "nats per token after the last step; all held-out sources "
                  "together, weighted by their tokens")
WITH_DROP = Column("loss_with_drop", "loss with drop", 4, "the same where evaluation drops tokens as training does")
MAX_VIO = Column("max_vio", "MaxVio", 3, "(largest load − mean load) / mean load over the experts of a layer, a step's "
                 "global batch, mean over layers; 0: perfectly even")
DEVICE_VIO = Column("device_vio", "device violation", 3, "the same over device groups")
RECEIVED_VIO = Column("received_vio", "received violation", 3, "the same over the rows that device groups receive, a "
                      "token counting once a group, after dropping")
VIOLATIONS = (MAX_VIO, DEVICE_VIO, RECEIVED_VIO)
TABLE = (
    HELD_OUT, MAX_VIO, DEVICE_VIO, RECEIVED_VIO,
    Column("devices_per_token", "devices per token", 2, "device groups that a token's experts lie on, mean over "
           "layers"),
    Column("mb_per_token", "MB per token", 5, "bytes sent between ranks, forward and backward; 0 on one rank"),
    Column("drop_rate", "dropped,\u00a0%", 1, "chosen (token, expert) pairs that were dropped", 100.0),
    Column("dead", "dead experts", 1, "experts that no token of a step chose, sum over layers"),
    Column("tokens_per_second", "tokens/s", 0, "median over all steps"),
)
TOLD = (WITH_DROP,)  # in the table where a run tells it
DROP_COST = Column("drop_cost", "cost of dropping", 4, "loss with drop − held-out loss of the same run")
ALSO = (
    *TOLD, DROP_COST,
    Column("held_out_specialisation", "held-out specialisation", 4, "Jensen-Shannon divergence between the domains' "
           "choices of experts on the held-out text, over its largest possible value"),
    Column("training_loss", "training loss", 4, "mean over the last 20 % of steps"),
    Column("bits_per_byte", "bits per byte", 4, "of the held-out text, after the last step"),
    Column("cv", "load CV", 3, "standard deviation / mean of the experts' loads"),
    Column("min_vio", "MinVio", 3, "(mean load − least load) / mean load"),
    Column("load_entropy", "load entropy", 4, "of the experts' shares over ln E; 1: uniform"),
    Column("router_entropy", "router entropy", 4, "of a token's affinities over ln E; 1: undecided"),
    Column("topk_mass", "top-k mass", 4, "sum of a token's chosen affinities"),
    Column("starved", "starved experts", 1, "with less than a hundredth of the mean load, sum over layers"),
    Column("tokens_lost", "tokens that lost all", 4, "share of tokens that dropping left without a routed expert"),
    Column("interference_ratio", "interference", 3, "norm of the balance losses' gradient on a router's weights over "
           "that of everything else, all routers as one vector"),
    Column("interference_cosine", "cosine of interference", 3, "between these two gradients, all routers as one vector"),
    Column("avg_vio", "AvgVio", 3, "mean absolute deviation / mean of the experts' loads"),
)
KV_CACHE = ("KV cache", "numbers that decoding keeps of a token, all layers together")  # title, meaning


def shown(value, digits, signed=False):
    """With a real minus; a dash where there is no number."""
    if value is None or value != value:
        return "–"
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return (text.lstrip("+-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def short(tokens):
    """262144 becomes 262k."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:g}"
