"""What documents are made of: lines of a dictionary, and the words that needles name."""

import dataclasses
import re

import debian_packages
from ablation.errors import BadInput
from instructions.choice import number
from instructions.gcide import parse
from instructions.words import Capitals, words

NAME = re.compile(r"[a-z]{4,7}")
COMMON = 50  # times that the dictionary itself uses a word
LEAST = 50   # held-out names and lines: those of a grid's row stand nowhere in its lines, so some must be left


@dataclasses.dataclass(frozen=True)
class Stock:
    lines: tuple  # 'casualty: That which comes without design ...': ASCII, a byte a character, no digits
    names: tuple  # common nouns of four to seven letters


def held_out(word):
    """One word in ten: its line and its name are in no training document's haystack or needle."""
    return number(word) % 10 == 0


def split(subjects):
    """{held out: the distinct texts} of (word in small letters, text)."""
    subjects = list(subjects)
    return {out: tuple(dict.fromkeys(text for word, text in subjects if held_out(word) == out))
            for out in (False, True)}


def stocks(folder):
    """{held out: Stock} of a dictionary."""
    texts = list(debian_packages.texts(debian_packages.dictionary(folder)))
    capitals = Capitals(texts)
    found = list(words(filter(None, map(parse, texts)), set(), capitals))
    told = ((word.key, f"{word.name}: {word.definition}") for word in found if word.definition)
    lines = split((key, line) for key, line in told if re.fullmatch(r"[ -/:-~]+", line))
    names = split((word.key, word.name) for word in found if word.kind == "noun" and NAME.fullmatch(word.name)
                  and capitals.small[word.name] >= COMMON)
    for kind, found in (("common nouns", names), ("short definitions", lines)):
        if len(found[True]) < LEAST:
            raise BadInput(f"{folder}: {len(found[True])} {kind} are held out, {LEAST} are needed",
                           "take the dictionary of the package dict-gcide")
    return {out: Stock(lines[out], names[out]) for out in (False, True)}
