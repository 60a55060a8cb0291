"""Writes data/unicode_categories.inc, the general category of every code point as tokenizers' Oniguruma has it.

usage: unicode_table.py [--check]      with --check compares instead of writing
"""

import pathlib
import sys

from tokenizers import Regex, pre_tokenizers

PATH = pathlib.Path(__file__).resolve().parents[2] / "data" / "unicode_categories.inc"
HEAD = ("// Unicode 16 general categories as Oniguruma has them; made and checked by tests/data/unicode_table.py.\n")
# The large ones first: what has found its category is not looked at again.
CATEGORIES = "Cn Co Lo So Ll Lu Mn Lt Lm Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk Zs Zl Zp Cc Cf".split()


def categories():
    found = ["Cs" if 0xD800 <= point < 0xE000 else None for point in range(0x110000)]
    left = [chr(point) for point, category in enumerate(found) if category is None]
    for category in CATEGORIES:
        split = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed")
        rest = set("".join(piece for piece, _ in split.pre_tokenize_str("".join(left))))
        for character in left:
            if character not in rest:
                found[ord(character)] = category
        left = [character for character in left if character in rest]
    assert not left, left[:10]
    return found


def runs(values):
    """Category and length of each run, the former's two letters and the latter's digits."""
    lengths = []
    for value in values:
        if lengths and lengths[-1][0] == value:
            lengths[-1][1] += 1
        else:
            lengths.append([value, 1])
    return [f"{value}{length}" for value, length in lengths]


def lines(items):
    line = ""
    for item in items:
        if len(line) + len(item) > 96:
            yield f'"{line}"\n'
            line = ""
        line += item
    yield f'"{line}"\n'


def main():
    content = HEAD + "".join(lines(runs(categories())))
    if "--check" not in sys.argv:
        PATH.write_text(content, encoding="ascii")
    elif PATH.read_text(encoding="ascii") != content:
        sys.exit(f"{PATH} is not what {sys.argv[0]} computes")


if __name__ == "__main__":
    main()
