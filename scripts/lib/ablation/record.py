"""study.json, at the top of a study's folder: what was asked for, and with what it was computed."""

import json
import os
import pathlib
import platform
import subprocess

from . import configuration, program

NAME = "study.json"


def git_describe():
    try:
        done = subprocess.run(["git", "-C", str(program.ROOT), "describe", "--always", "--dirty", "--tags"],
                              capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def record(study, runs):
    firsts = {run.variant: run for run in reversed(runs)}
    return {
        "name": study.name, "question": study.question, "base": str(study.base), "baseline": study.baseline,
        "seeds": study.seeds, "ranks": study.ranks,
        "variants": {point.name: {"settings": {key: setting.value for key, setting in point.settings.items()},
                                  "parameters": firsts[point.name].parameters,
                                  "kv_cache": firsts[point.name].kv_cache,
                                  "config": configuration.essence(firsts[point.name].config)}
                     for point in study.points},
        "runs": [{"variant": run.variant, "seed": run.seed, "folder": str(run.folder.relative_to(study.directory)),
                  "hash": run.hash, "command": run.command} for run in runs],
        "git": git_describe(), "processor": processor(), "cores": os.cpu_count(),
        "versions": {"python": platform.python_version(), "system": platform.platform()},
    }


def write(study, runs):
    """Whole or not at all."""
    study.directory.mkdir(parents=True, exist_ok=True)
    partial = study.directory / f".{NAME}.partial"
    partial.write_text(json.dumps(record(study, runs), indent=1) + "\n", encoding="utf-8")
    partial.replace(study.directory / NAME)
