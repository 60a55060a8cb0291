"""Two grids side by side: how likely a right digit is at each length and depth, in one scale of colour."""

from .svg import document, element, text, upright

CELL_WIDTH, CELL_HEIGHT = 66, 42
LEFT, TOP, BETWEEN, BELOW = 78, 76, 76, 62  # margins, with what stands in them
SCALE_GAP, SCALE_WIDTH, SCALE_RIGHT = 30, 16, 96
CHANCE = 0.1
TICKS = (0, 0.25, 0.5, 0.75, 1)


def on(probability):
    """The class of a number that is readable on a cell: where light and dark surroundings change its colour."""
    return "on-low" if probability < 0.5 else "on-middle" if probability < 0.75 else "on-high"


def cell(x, y, probability):
    box = {"x": x, "y": y, "width": CELL_WIDTH - 2, "height": CELL_HEIGHT - 2, "rx": 3}
    return (element("rect", **box, class_="panel") + element("rect", **box, class_="full", fill_opacity=probability)
            + text(x + CELL_WIDTH / 2 - 1, y + CELL_HEIGHT / 2 + 4, f"{probability:.2f}", f"number {on(probability)}"))


def labels(grid, left, bottom):
    yield from (text(left + (column + 0.5) * CELL_WIDTH, bottom + 18, f"{length:,}", "number muted")
                for column, length in enumerate(grid.lengths))
    yield from (text(left - 8, TOP + (line + 0.5) * CELL_HEIGHT + 4, f"{depth} %", "number muted", "end")
                for line, depth in enumerate(grid.depths))
    yield text(left + len(grid.lengths) * CELL_WIDTH / 2, bottom + 42, "length, bytes")


def panel(grid, name, left):
    bottom = TOP + len(grid.depths) * CELL_HEIGHT
    yield text(left, TOP - 14, name, "title ink", "start")
    for column, length in enumerate(grid.lengths):
        for line, depth in enumerate(grid.depths):
            yield cell(left + column * CELL_WIDTH, TOP + line * CELL_HEIGHT, grid.probability[length, depth])
    yield from labels(grid, left, bottom)
    yield upright(left - 56, (TOP + bottom) / 2, "depth of the needle")


def scale(left, height):
    """What the colours mean, with a mark at chance."""
    box = {"x": left, "y": TOP, "width": SCALE_WIDTH, "height": height}
    yield ('<defs><linearGradient id="scale" x1="0" y1="1" x2="0" y2="0"><stop class="stop" offset="0" stop-opacity="0"/>'
           '<stop class="stop" offset="1" stop-opacity="1"/></linearGradient></defs>\n')
    yield element("rect", **box, class_="panel grid") + element("rect", **box, fill="url(#scale)")
    right = left + SCALE_WIDTH
    for value in TICKS:
        yield text(right + 8, TOP + (1 - value) * height + 4, f"{value:.2f}", "number muted", "start")
    y = TOP + (1 - CHANCE) * height
    yield element("line", x1=left - 4, x2=right + 4, y1=y, y2=y, class_="rule", stroke_width=1.5)
    yield text(right + 8, y + 4, f"{CHANCE:.2f} chance", "number ink", "start")


def picture(before, after):
    across, height = len(before.lengths) * CELL_WIDTH, len(before.depths) * CELL_HEIGHT
    second = LEFT + across + BETWEEN
    legend = second + across + SCALE_GAP
    title = "Probability of a right digit of the number that is asked for"
    parts = [text(LEFT, 32, title, "title ink", "start"), *panel(before, "Before", LEFT),
             *panel(after, "After", second), *scale(legend, height)]
    return document(legend + SCALE_WIDTH + SCALE_RIGHT, TOP + height + BELOW, title,
                    f"Two heatmaps, before and after, of {len(before.depths)} depths and {len(before.lengths)} lengths; "
                    f"{CHANCE:.2f} is chance.", parts)
