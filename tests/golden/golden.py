"""Writing golden values: JSON with flat arrays, and the command that made it."""

import json
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


def write(name, content):
    """tests/golden/NAME.json: the command that made it, then the content, one case a line."""
    command = f".venv/bin/python tests/golden/{pathlib.Path(sys.argv[0]).name}"
    lines = [f'  "command": {json.dumps(command)}']
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n".join(f"    {json.dumps(item)}" for item in value)
            lines.append(f"  {json.dumps(key)}: [\n{items}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
