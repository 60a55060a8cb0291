"""Goes on in the repository's virtual environment where this Python lacks a package."""

import importlib.util
import os
import pathlib
import sys

ENVIRONMENT = pathlib.Path(__file__).resolve().parents[2] / ".venv"


def require(*modules):
    missing = [module for module in modules if not importlib.util.find_spec(module)]
    if not missing:
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() or pathlib.Path(sys.prefix) == ENVIRONMENT:
        print(f"error: the Python package `{missing[0]}` is missing\nhint: run scripts/setup --tests", file=sys.stderr)
        sys.exit(2)
    os.execv(python, [str(python), *sys.argv])
