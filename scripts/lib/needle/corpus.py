"""Writes the corpus: documents with needles to learn from, documents without, and the grid of depths and lengths.

Needs the package dict-gcide. One word of it in ten is held out: its entry stands in no training document, and no needle
there names it; the grid and the documents without needles are made of such words alone. The digits of needles are the
only ones in the text. A grid's row asks for one needle among three others:

  {"segments": [{"text": "...\\nThe key of lantern is 48213.\\n...\\nThe key of lantern is ", "weight": 0},
                {"text": "48213", "weight": 1}], "domain": "length-1024 depth-50"}

It has as many bytes as its domain says; depth 0 is the first line, 100 the line before the question. The same package
and options give the same files, byte for byte; what is there already is left as it is.
"""

import json
from pathlib import Path

import whole_file
from ablation.errors import BadInput, say
from debian_packages import DICTD, MissingPackage

from . import grid
from .documents import documents, plain, repeated, searched
from .stock import stocks

ROOT = Path(__file__).resolve().parents[3]
HELP = "writes what to train on and what to score"
LENGTHS, DEPTHS = (256, 512, 1024, 2048, 4096), (0, 25, 50, 75, 100)
MARGINS = {"short": 32, "long": 64}  # bytes that documents leave free of their length
SHARE_HELD_OUT = 0.02                # bytes of documents without needles, of those of the training documents
LEAST_LENGTH = 192                   # bytes, into which the needles of a row fit


def add_arguments(parser):
    parser.add_argument("--out", type=Path, default=ROOT / "corpus", metavar="DIR",
                        help="where the files go (default: corpus/)")
    parser.add_argument("--short", type=int, default=512, metavar="BYTES",
                        help="length that a model is trained with first; documents have 32 bytes less (default: 512)")
    parser.add_argument("--long", type=int, default=4096, metavar="BYTES",
                        help="length that it is extended to; documents have 64 bytes less (default: 4096)")
    parser.add_argument("--copies-megabytes", type=float, default=4, metavar="N",
                        help="text of needle.copies.train.jsonl (default: 4)")
    parser.add_argument("--short-megabytes", type=float, default=10, metavar="N",
                        help="text of needle.short.train.jsonl (default: 10)")
    parser.add_argument("--long-megabytes", type=float, default=20, metavar="N",
                        help="text of needle.long.train.jsonl (default: 20)")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="BYTES",
                        help=f"of the grid (default: {' '.join(map(str, LENGTHS))})")
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, metavar="PERCENT",
                        help=f"of the grid (default: {' '.join(map(str, DEPTHS))})")
    parser.add_argument("--rows", type=int, default=20, metavar="N", help="rows of a cell of the grid (default: 20)")
    parser.add_argument("--dictionary", type=Path, default=DICTD, metavar="DIR",
                        help=f"where gcide.index and gcide.dict.dz are (default: {DICTD})")


def check(options):
    for name, values, least, most in (
            ("--short", [options.short], LEAST_LENGTH, options.long), ("--rows", [options.rows], 1, 10_000),
            ("--copies-megabytes", [options.copies_megabytes], 0, 1000),
            ("--short-megabytes", [options.short_megabytes], 0, 1000), ("--lengths", options.lengths, LEAST_LENGTH, 10**6),
            ("--long-megabytes", [options.long_megabytes], 0, 1000), ("--depths", options.depths, 0, 100)):
        wrong = [value for value in values if not least <= value <= most]
        if wrong:
            raise BadInput(f"{name} ({wrong[0]:g}) is not between {least} and {most}", "see scripts/needle corpus --help")


def document_file(held_out, kind, options):
    """A maker of the lines of a file, from the stocks."""
    limit = getattr(options, kind) - MARGINS[kind]
    size = 1e6 * getattr(options, f"{kind}_megabytes") * (SHARE_HELD_OUT if held_out else 1)
    make, domain = (plain, f"plain-{kind}") if held_out else (searched, f"needle-{kind}")
    return lambda stock: ({"text": text, "domain": domain}
                          for text in documents(make, stock[held_out], limit, size, seed=domain))


def copies_file(options):
    """A maker of lines, as document_file; four documents fit into the short length."""
    limit = options.short // 4 - 3
    size = 1e6 * options.copies_megabytes
    return lambda stock: ({"text": text, "domain": "copies"}
                          for text in documents(repeated, stock[False], limit, size, seed="copies"))


def files(options):
    """{name: what makes its rows from the stocks}."""
    return {
        "needle.copies.train.jsonl": copies_file(options),
        "needle.short.train.jsonl": document_file(False, "short", options),
        "needle.long.train.jsonl": document_file(False, "long", options),
        "needle.short.eval.jsonl": document_file(True, "short", options),
        "needle.long.eval.jsonl": document_file(True, "long", options),
        "needle.grid.jsonl": lambda stock: grid.rows(
            stock[True], sorted(set(options.lengths)), sorted(set(options.depths)), options.rows)}


def write(path, rows):
    lines = [json.dumps(row) + "\n" for row in rows]
    whole_file.write(path, lines)
    print(f"{path}: {len(lines):,} rows, {sum(map(len, lines)):,} bytes")


def run(options):
    check(options)
    missing = {}
    for name, make in files(options).items():
        path = options.out / name
        if path.exists():
            print(f"{path}: already there")
        else:
            missing[path] = make
    if not missing:
        return 0
    try:
        stock = stocks(options.dictionary)
    except MissingPackage as error:
        say(f"needle: {error}")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for path, make in missing.items():
        write(path, make(stock))
    return 0
