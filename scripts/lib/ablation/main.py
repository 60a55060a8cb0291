"""What scripts/ablate does with its arguments."""

import argparse
import contextlib
import fcntl
import fnmatch
import os
import pathlib
import subprocess
import sys

from . import estimate, program, record, slurm
from .errors import BadInput, say
from .plan import plan
from .runner import Interrupted, Runner
from .state import check_folder, state
from .study import read_study


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=pathlib.Path, metavar="STUDY.yaml")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, their sizes and times, and stop")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default 1)")
    parser.add_argument("--slurm", action="store_true", help="print a Slurm array script instead of running")
    parser.add_argument("--only", metavar="PATTERN", help="only runs whose VARIANT/seed-N matches, as in 'all/*'")
    parser.add_argument("--report", action=argparse.BooleanOptionalAction, default=True,
                        help="write the report after the last run (default)")
    return parser.parse_args()


def selected(runs, pattern):
    chosen = [run for run in runs if pattern is None or fnmatch.fnmatch(run.label, pattern)]
    if not chosen:
        raise BadInput(f"--only {pattern} matches none of {len(runs)} runs",
                       f"they are called as in {runs[0].label}; quote the pattern")
    return chosen


def print_plan(runs, jobs):
    """One line a run, then the sum."""
    pace, width = estimate.speed(runs), max(len(run.label) for run in runs)
    print(f"{'run':{width}}  {'state':8}  {'parameters':>12}  {'active':>12}  {'KV cache':>8}  {'tokens':>13}  time      "
          "configuration")
    for run in runs:
        check_folder(run)
        time = estimate.spoken(run.tokens / pace if pace else None)
        print(f"{run.label:{width}}  {state(run):8}  {run.parameters['total']:12,}  {run.parameters['active']:12,}  "
              f"{run.kv_cache['elements_per_token']:8,}  {run.tokens:13,}  {time:8}  {run.hash}")
    measured = f"at {pace:,.0f} tokens/s a run, as measured" if pace else "no run has been timed yet"
    left = estimate.spoken(estimate.seconds_left(runs, jobs))
    print(f"{len(runs)} runs, {jobs} at a time; time left: {left} ({measured})")


def note_threads(runs, jobs, ranks):
    threads, cores = runs[0].threads, os.cpu_count() or 1
    wanted = jobs * ranks * (int(threads) if threads.isdigit() else cores if jobs > 1 else 1)
    if wanted > cores:
        say(f"note: {jobs} runs x {ranks} ranks x {threads} threads on {cores} cores; lower run.threads or --jobs")


@contextlib.contextmanager
def only_one(directory):
    """Two at work on one study would write into the same folders."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"another scripts/ablate is at work in {directory}", "wait for it, or stop it") from None
        yield


def report(directory):
    return subprocess.run([sys.executable, str(program.ROOT / "scripts/report"), str(directory)]).returncode


def execute(study, runs, everything, options):
    note_threads(runs, options.jobs, study.ranks)
    with only_one(study.directory):
        runner = Runner(runs, options.jobs)
        record.write(study, everything)
        try:
            finished = runner.execute()
        except Interrupted as signal:
            return 128 + signal.args[0]
        code = report(study.directory) if options.report and runner.finished else 0
    return code or (0 if finished else 1)


def run(description):
    options = arguments(description)
    if options.jobs < 1:
        raise BadInput(f"--jobs ({options.jobs}) must be at least 1", "as many as there are cores / threads of a run")
    study = read_study(options.study)
    everything = plan(study)
    runs = selected(everything, options.only)
    if options.dry_run:
        return print_plan(runs, options.jobs)
    if options.slurm:
        for each in runs:
            check_folder(each)
        record.write(study, everything)
        pace = estimate.speed(everything)
        return print(slurm.script(study, runs, options.jobs, runs[0].tokens / pace if pace else None), end="")
    return execute(study, runs, everything, options)
