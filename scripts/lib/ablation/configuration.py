"""Resolved configurations: flat, compared, hashed. What names a run is no part of what it computes."""

import hashlib
import json

import yaml

NAMING = {"run.name", "run.directory", "run.resume", "run.allow_change"}
MISSING = "(none)"


class Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    pass


def parse(text):
    return flatten(yaml.load(text, Loader=Loader))


def flatten(tree, prefix=""):
    """Nested maps as {dotted key: value}; lists stay whole."""
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return flat


def essence(flat):
    return {key: value for key, value in flat.items() if key not in NAMING}


def digest(flat):
    """Equal for runs that compute the same, whatever they are called."""
    canonical = json.dumps(essence(flat), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def difference(one, other):
    """{key: (value in one, value in other)} where they differ."""
    one, other = essence(one), essence(other)
    return {key: (one.get(key, MISSING), other.get(key, MISSING)) for key in sorted(one.keys() | other.keys())
            if one.get(key, MISSING) != other.get(key, MISSING)}


def varying(configurations):
    """{key: [values]} of the keys that are not the same in all of these, in the order of the first."""
    keys = dict.fromkeys(key for flat in configurations for key in essence(flat) if key != "run.seed")
    columns = {key: [flat.get(key, MISSING) for flat in configurations] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}
