"""Writing golden values: JSON with flat arrays, and the command that made it."""

import json
import math
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent


def tensor(value):
    """{"shape", "data"} of nested lists or of anything with tolist(); data is flat, row-major."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return {"shape": shape_of(value), "data": flat(value)}


def shape_of(value):
    return [len(value), *shape_of(value[0])] if isinstance(value, list) else []


def flat(value):
    return [number for item in value for number in flat(item)] if isinstance(value, list) else [value]


def equal(a, b):
    """The same but for the last bits, which depend on the machine's arithmetic."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-10, abs_tol=1e-13)
    return a == b


def text_of(content):
    """One case a line."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write(name, content):
    """Writes tests/golden/NAME.json; with --check on the command line compares with it instead."""
    path = FOLDER / f"{name}.json"
    text = text_of({"command": f".venv/bin/python tests/golden/{pathlib.Path(sys.argv[0]).name}", **content})
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf-8")
    elif not equal(json.loads(text), json.loads(path.read_text(encoding="utf-8"))):
        sys.exit(f"{path} is not what {sys.argv[0]} computes")
