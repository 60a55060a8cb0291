"""The numbers as Markdown."""

from .scores import doubling

TITLE = """# Needles in haystacks

Probability of a right digit of the number that was asked for: exp(-loss), the geometric mean over the digits of a cell;
a guess among ten digits has 0.10. The mean of a length is that of its cells. Depth 0 % is the beginning of
the haystack, 100 % the line before the question; a length counts bytes.
"""
POSITIONS = """
## Perplexity by position

Of held-out documents without needles, per token at these positions.
"""


def table(header, rows):
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def grid_table(grid):
    rows = [[f"{length:,}", *(f"{grid.probability[length, depth]:.3f}" for depth in grid.depths),
             f"{grid.mean(length):.3f}"] for length in grid.lengths]
    return table(["length", *(f"depth {depth} %" for depth in grid.depths), "mean"], rows)


def position_table(before, after):
    columns = [{(each.first, each.end): each.perplexity for each in doubling(stretches)}
               for stretches in (before, after)]
    rows = [[f"{first:,} to {end - 1:,}",
             *(f"{column[first, end]:.2f}" if (first, end) in column else "-" for column in columns)]
            for first, end in sorted(columns[0].keys() | columns[1].keys())]
    return table(["positions", "before", "after"], rows)


def markdown(paths, grids, positions=None):
    """paths: the two inputs, which the headings name; positions: two lists of stretches."""
    parts = [TITLE]
    for name, path, grid in zip(("Before", "After"), paths, grids):
        parts.append(f"\n## {name}: `{path}`\n\n{grid_table(grid)}")
    if positions:
        parts.append(f"{POSITIONS}\n{position_table(*positions)}")
    return "".join(parts)
