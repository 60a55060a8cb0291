"""Documents: lines of the dictionary alone, among needles that come again and again, or a line that only repeats."""

import random
import string

from .needles import draw, fresh_names

FULL = 0.7                    # share of the documents that are as long as they may be; others have a quarter of that or more
FILLER = (0, 0.2, 0.5, 0.9)   # share of a document's lines that are the dictionary's
BYTES_A_NEEDLE = 64           # of a document, at least, for each needle that it names
REPEATED = (8, 48)            # letters of the line of a document that repeats one


def endless(lines, dice):
    """The lines in a random order, all of them before one comes again."""
    while True:
        yield from dice.sample(lines, len(lines))


def take(lines, size):
    """The first lines that fit into `size` bytes, each with the end of its line; the first that does not is lost."""
    taken = []
    for line in lines:
        size -= len(line) + 1
        if size < 0:
            return taken
        taken.append(line)


def stream(needles, deck, filler, dice):
    """Lines without end, a share of them from the deck and the others any of the needles."""
    while True:
        yield next(deck) if dice.random() < filler else dice.choice(needles)


def searched(stock, deck, limit, dice):
    """A document to learn from: each needle may come at any time, and often."""
    size = limit if dice.random() < FULL else dice.randint(limit // 4, limit)
    count = dice.randint(1, max(2, size // BYTES_A_NEEDLE))
    needles = draw(fresh_names(stock.names, count, "", dice), dice)
    return "\n".join(take(stream(needles, deck, dice.choice(FILLER), dice), size))


def repeated(stock, deck, limit, dice):
    """A line of random letters, as often as it fits: what it says can be copied from its second time on."""
    line = "".join(dice.choices(string.ascii_lowercase, k=dice.randint(*REPEATED))) + "\n"
    return (line * (limit // len(line) + 1))[:limit]


def plain(stock, deck, limit, dice):
    """A document without needles."""
    return "\n".join(take(deck, limit))


def documents(make, stock, limit, size, seed):
    """Documents of at most `limit` bytes until they have `size` together."""
    dice = random.Random(seed)
    deck = endless(stock.lines, dice)
    while size > 0:
        text = make(stock, deck, limit, dice)
        size -= len(text)
        if text:
            yield text
