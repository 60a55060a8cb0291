"""Writes a file whole or not at all."""

import os


def write(path, lines):
    """`lines` may be a generator; what it raises leaves the file as it was."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
