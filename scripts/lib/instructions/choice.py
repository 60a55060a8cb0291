"""Choices that depend on nothing but what is chosen for: the same item gets the same one, wherever it stands."""

import hashlib


def number(*item):
    digest = hashlib.sha256("\0".join(item).encode()).digest()
    return int.from_bytes(digest, "big")


def one_of(options, *item):
    return options[number(*item) % len(options)]


def held_out(subject):
    """One word or function in a hundred; everything that is asked about it is held out then."""
    return number(subject) % 100 == 0
