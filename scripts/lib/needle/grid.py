"""Rows that ask for one needle at a known depth of a haystack of a known length."""

import random

from ablation.errors import BadInput

from .needles import NUMBERS, answer, needle, question

DISTRACTORS = 3   # needles of other names in each row, at any length: the length alone makes it harder
CLOSING = 60      # bytes: what is left of a haystack is closed by a line of just that length
TOLERANCE = 0.02  # of the haystack: how far a needle may lie from its depth
TRIES = 20_000


class Haystacks:
    """Draws haystacks from a stock until one has the right size, and an end of a line near each depth."""

    def __init__(self, stock, depths):
        self.stock, self.depths = stock, depths
        self.by_size = {}
        for line in stock.lines:
            self.by_size.setdefault(len(line) + 1, []).append(line)

    def exactly(self, size, dice):
        """Lines of `size` bytes together, with the ends of lines; None where the last one is not to be had."""
        lines = []
        while size > CLOSING:
            lines.append(dice.choice(self.stock.lines))
            size -= len(lines[-1]) + 1
        return lines + [dice.choice(self.by_size[size])] if size in self.by_size else None

    def places(self, lines):
        """For each depth, before which line the needle goes; None where no line ends near one."""
        ends = [0]
        for line in lines:
            ends.append(ends[-1] + len(line) + 1)
        found = []
        for depth in self.depths:
            wanted = ends[-1] * depth / 100
            found.append(min(range(len(ends)), key=lambda i: abs(ends[i] - wanted)))
            if abs(ends[found[-1]] - wanted) > TOLERANCE * ends[-1]:
                return None
        return found

    def attempt(self, length, dice):
        """(name, number, lines without the needle, places), or None."""
        names = dice.sample(self.stock.names, 1 + DISTRACTORS)
        number, *others = dice.sample(range(NUMBERS), 1 + DISTRACTORS)
        distractors = [needle(*other) for other in zip(names[1:], others)]
        asked = len(needle(names[0], number)) + 1 + len(question(names[0])) + len(answer(number))
        filler = self.exactly(length - asked - sum(len(line) + 1 for line in distractors), dice)
        if not filler:
            return None
        lines = dice.sample(filler + distractors, len(filler) + DISTRACTORS)
        text = "\n".join([names[0], *lines]).lower()
        places = self.places(lines) if all(text.count(name) == 1 for name in names) else None
        return places and (names[0], number, lines, places)

    def draw(self, length, dice):
        for _ in range(TRIES):
            found = self.attempt(length, dice)
            if found:
                return found
        raise BadInput(f"no haystack of {length} bytes has ends of lines at depths of "
                       f"{', '.join(map(str, self.depths))} %", "leave the shortest --lengths out, or give fewer --depths")


def row(name, number, lines, place, domain):
    haystack = "".join(line + "\n" for line in [*lines[:place], needle(name, number), *lines[place:]])
    return {"segments": [{"text": haystack + question(name), "weight": 0}, {"text": answer(number), "weight": 1}],
            "domain": domain}


def rows(stock, lengths, depths, count):
    """`count` rows a cell, of just its length. Those of a length differ in the depth of the needle alone."""
    haystacks = Haystacks(stock, depths)
    for length in lengths:
        dice = random.Random(f"needle grid {length}")
        drawn = [haystacks.draw(length, dice) for _ in range(count)]
        for i, depth in enumerate(depths):
            for name, number, lines, places in drawn:
                yield row(name, number, lines, places[i], f"length-{length} depth-{depth}")
