"""How far the run in a folder is, and whether it is the run that is wanted there."""

import json

from . import configuration
from .errors import BadInput


def last_metrics(folder):
    """The newest whole line of metrics.jsonl; None before the first."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 262144))
        lines = file.read().split(b"\n")[:-1]
    return json.loads(lines[-1]) if lines else None


def check_folder(run):
    """Refuses a folder that holds another configuration."""
    path = run.folder / "config.yaml"
    if not path.exists():
        return
    changed = configuration.difference(configuration.parse(path.read_text(encoding="utf-8")), run.config)
    if changed:
        listed = "".join(f"\n  {key}: {there} there, now {wanted}" for key, (there, wanted) in changed.items())
        raise BadInput(f"{run.folder} holds a run of another configuration:{listed}",
                       "give the study another name or directory, or remove that folder")


def is_finished(run):
    return (run.folder / "DONE").exists()


def state(run):
    """finished | partial | new."""
    if is_finished(run):
        return "finished"
    return "partial" if last_metrics(run.folder) else "new"
