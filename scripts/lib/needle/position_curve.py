"""Perplexity against position, both axes logarithmic: where a model no longer makes use of what it reads."""

import math

from .svg import document, element, text, upright

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 72, 60  # margins
DASHES = {"before": "6 4", "after": "none"}


def middle(stretch):
    return (stretch.first + stretch.end) / 2


class Axis:
    """A logarithmic axis that covers the values and ends at marks."""

    def __init__(self, values, marks, begin, end):
        low, high = min(values), max(values)
        below = [mark for mark in marks if mark <= low]
        above = [mark for mark in marks if mark >= high]
        self.low, self.high = below[-1] if below else low, above[0] if above else high
        self.marks = [mark for mark in marks if self.low <= mark <= self.high]
        self.begin, self.end = begin, end

    def __call__(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5
        return self.begin + share * (self.end - self.begin)


def axes(curves):
    stretches = [stretch for curve in curves for stretch in curve]
    by_doubling = [2**power for power in range(64)]
    steps = [step * 10**power for power in range(305) for step in (1, 2, 5)]
    x = Axis([middle(each) for each in stretches], by_doubling, LEFT, WIDTH - RIGHT)
    return x, Axis([each.perplexity for each in stretches], steps, HEIGHT - BOTTOM, TOP)


def thinned(marks, most=12):
    return marks[:: -(-len(marks) // most)]


def frame(x, y):
    for mark in thinned(x.marks):
        yield element("line", x1=x(mark), x2=x(mark), y1=TOP, y2=HEIGHT - BOTTOM, class_="grid")
        yield text(x(mark), HEIGHT - BOTTOM + 18, f"{mark:,}", "number muted")
    for mark in thinned(y.marks):
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(mark), y2=y(mark), class_="grid")
        yield text(LEFT - 8, y(mark) + 4, f"{mark:,}" if mark < 10**6 else f"{mark:.0e}", "number muted", "end")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "position in the document, tokens")
    yield upright(20, (TOP + HEIGHT - BOTTOM) / 2, "perplexity")


def curve(name, stretches, x, y):
    points = [(x(middle(each)), y(each.perplexity)) for each in stretches]
    yield element("polyline", points=" ".join(f"{left:.1f},{top:.1f}" for left, top in points),
                  class_=f"line {name}", stroke_dasharray=DASHES[name])
    for left, top in points if len(points) <= 80 else []:
        yield element("circle", cx=left, cy=top, r=2.5, class_=f"dot {name}")


def legend():
    for i, name in enumerate(DASHES):
        left = WIDTH - RIGHT - 190 + 100 * i
        yield element("line", x1=left, x2=left + 28, y1=54, y2=54, class_=f"line {name}", stroke_dasharray=DASHES[name])
        yield element("circle", cx=left + 14, cy=54, r=2.5, class_=f"dot {name}")
        yield text(left + 36, 58, name.capitalize(), "ink", "start")


def picture(before, after):
    x, y = axes((before, after))
    title = "Perplexity by position"
    parts = [text(LEFT, 32, title, "title ink", "start"), *frame(x, y), *curve("before", before, x, y),
             *curve("after", after, x, y), *legend()]
    return document(WIDTH, HEIGHT, title, "Two curves, before and after; both axes are logarithmic.", parts)
