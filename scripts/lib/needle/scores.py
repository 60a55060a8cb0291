"""What `dsmoe eval --json` said of the grid, and of the loss by position."""

import collections
import dataclasses
import json
import math
import re

from ablation.errors import BadInput

CELL = re.compile(r"length-(\d+) depth-(\d+)")
SCORE_GRID = "give what `dsmoe eval --model DIR --data corpus/needle.grid.jsonl --json` prints"
SCORE_POSITIONS = "give what `dsmoe eval --model DIR --data corpus/needle.long.eval.jsonl --by-position --json` prints"


@dataclasses.dataclass(frozen=True)
class Grid:
    lengths: list
    depths: list
    probability: dict  # (length, depth) -> exp(-loss)
    tokens: dict       # (length, depth) -> digits that were scored

    def mean(self, length):
        return sum(self.probability[length, depth] for depth in self.depths) / len(self.depths)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Positions [first, end) of a document."""
    first: int
    end: int
    loss: float
    tokens: int

    @property
    def perplexity(self):
        return math.exp(min(self.loss, 700))


def read_json(path, hint):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({error})", hint) from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: no JSON object", hint)
    return value


def number(place, record, key, hint, least=0):
    value = record.get(key) if isinstance(record, dict) else None
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not known or value < least:
        raise BadInput(f"{place}: {key} is {json.dumps(value)}, not a number of at least {least}", hint)
    return value


def read_grid(path):
    domains = read_json(path, SCORE_GRID).get("domains")
    if not isinstance(domains, dict) or not domains:
        raise BadInput(f"{path}: no `domains`", SCORE_GRID)
    loss, tokens = {}, {}
    for name, record in domains.items():
        match = CELL.fullmatch(name)
        if not match:
            raise BadInput(f"{path}: domain `{name}` is no cell such as length-1024 depth-50", SCORE_GRID)
        cell = tuple(map(int, match.groups()))
        loss[cell] = number(f"{path}: {name}", record, "loss", SCORE_GRID)
        tokens[cell] = number(f"{path}: {name}", record, "tokens", SCORE_GRID, least=1)
    return whole(path, Grid(sorted({length for length, _ in loss}), sorted({depth for _, depth in loss}),
                            {cell: math.exp(-value) for cell, value in loss.items()}, tokens))


def whole(path, grid):
    """The grid, if it has each depth at each length."""
    for length in grid.lengths:
        for depth in grid.depths:
            if (length, depth) not in grid.probability:
                raise BadInput(f"{path}: no domain `length-{length} depth-{depth}`",
                               "score all of needle.grid.jsonl; " + SCORE_GRID)
    return grid


def read_grids(before, after):
    """Both, of the same rows."""
    grids = [read_grid(before), read_grid(after)]
    for cell in sorted(grids[0].tokens.keys() | grids[1].tokens.keys()):
        told = [grid.tokens.get(cell, 0) for grid in grids]
        if told[0] != told[1]:
            raise BadInput(f"length-{cell[0]} depth-{cell[1]}: {told[0]} digits in {before}, {told[1]} in {after}",
                           "score the same needle.grid.jsonl with both models")
    return grids


def read_positions(path):
    """The stretches of positions that have tokens, in their order."""
    told = read_json(path, SCORE_POSITIONS).get("positions")
    if not isinstance(told, list):
        raise BadInput(f"{path}: no `positions`", SCORE_POSITIONS)
    found = []
    for i, record in enumerate(told):
        place = f"{path}: positions[{i}]"
        tokens = number(place, record, "tokens", SCORE_POSITIONS)
        first = number(place, record, "from", SCORE_POSITIONS, least=found[-1].end if found else 0)
        end = number(place, record, "to", SCORE_POSITIONS, least=first + 1)
        if tokens:
            found.append(Stretch(first, end, number(place, record, "loss", SCORE_POSITIONS), tokens))
    if not found:
        raise BadInput(f"{path}: no positions with tokens", SCORE_POSITIONS)
    return found


def doubling(stretches):
    """The same in fewer stretches, each ending at twice the position of the one before; losses weighted by tokens."""
    groups = collections.defaultdict(list)
    for stretch in stretches:
        groups[1 << (stretch.end - 1).bit_length()].append(stretch)
    for members in groups.values():
        tokens = sum(member.tokens for member in members)
        loss = sum(member.loss * member.tokens for member in members) / tokens
        yield Stretch(members[0].first, members[-1].end, loss, tokens)
