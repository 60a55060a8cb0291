"""The program dsmoe: where it is, how a run of a study is started."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from .errors import BadInput

ROOT = pathlib.Path(__file__).resolve().parents[3]


def binary():
    """$DSMOE_BINARY, else the release build, else what is on the PATH."""
    named = os.environ.get("DSMOE_BINARY")
    found = shutil.which(named or str(ROOT / "build/release/dsmoe")) or (None if named else shutil.which("dsmoe"))
    if not found:
        raise BadInput(f"no program at {named or 'build/release/dsmoe'}", "scripts/quickstart builds it")
    return found


def environment():
    """Open MPI starts no rank as root, and no more ranks than cores, unless told otherwise."""
    extra = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none", "NO_COLOR": "1"}
    if os.geteuid() == 0:
        extra |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return os.environ | extra


def command(base, ranks, overrides):
    launcher = ["mpirun", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
    return [*launcher, binary(), "train", str(base), *overrides]


def dry_run(base, ranks, overrides):
    """What `train --dry-run --json` prints. BadInput with dsmoe's own words where it refuses."""
    done = subprocess.run([*command(base, ranks, overrides), "--dry-run", "--json"], env=environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout)
    said = re.match(r"(?s)error: (.*?)\nhint: ([^\n]*)", done.stderr)
    if done.returncode != 2 or not said:
        raise RuntimeError(f"dsmoe train --dry-run ended with {done.returncode}:\n{done.stderr}")
    raise BadInput(*said.groups())
