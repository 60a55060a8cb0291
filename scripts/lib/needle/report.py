"""Compares two models, such as one before and after its context was extended.

BEFORE.json and AFTER.json hold what `dsmoe eval --model DIR --data corpus/needle.grid.jsonl --json` prints. Written are
DIR/needle.md    depth x length tables of exp(-loss), the probability of a right digit, where 0.10 is chance
DIR/needle.svg   both as heatmaps, side by side
and with --positions, of what `dsmoe eval --model DIR --data corpus/needle.long.eval.jsonl --by-position --json` prints,
a table of perplexities by position, and DIR/needle-positions.svg.
"""

from pathlib import Path

import whole_file

from . import heatmap, position_curve
from .scores import read_grids, read_positions
from .tables import markdown

HELP = "compares what `dsmoe eval` said of the grid before and after"


def add_arguments(parser):
    parser.add_argument("before", type=Path, metavar="BEFORE.json")
    parser.add_argument("after", type=Path, metavar="AFTER.json")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the tables and pictures go")
    parser.add_argument("--positions", type=Path, nargs=2, metavar=("BEFORE.json", "AFTER.json"),
                        help="loss by position of the same two models")


def run(options):
    grids = read_grids(options.before, options.after)
    positions = [read_positions(path) for path in options.positions or ()]
    written = {"needle.md": markdown((options.before, options.after), grids, positions),
               "needle.svg": heatmap.picture(*grids)}
    if positions:
        written["needle-positions.svg"] = position_curve.picture(*positions)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in written.items():
        whole_file.write(options.out / name, [content])
    for length in grids[0].lengths:
        print(f"length {length:6,}: right digit {grids[0].mean(length):.3f} before, {grids[1].mean(length):.3f} after")
    print(f"wrote {', '.join(str(options.out / name) for name in written)}")
