"""A needle: a line that says a number for a name, and is asked for by that name."""

NUMBERS = 100_000  # five digits, each as likely as any other: one in ten is right by chance


def question(name):
    return f"The key of {name} is "


def answer(number):
    return f"{number:05}"


def needle(name, number):
    return f"{question(name)}{answer(number)}."


LONGEST = len(needle("lantern", 0)) + 1  # bytes, with the end of the line; names have seven letters at most


def fresh_names(names, count, text, dice):
    """Up to `count` names that stand neither in the text nor in each other."""
    chosen, text = [], text.lower()
    for name in dice.sample(names, min(len(names), max(32, 4 * count))):
        if len(chosen) < count and name not in text and not any(name in one or one in name for one in chosen):
            chosen.append(name)
    return chosen


def draw(names, dice):
    """A needle for each name, no number twice."""
    return [needle(name, number) for name, number in zip(names, dice.sample(range(NUMBERS), len(names)))]
