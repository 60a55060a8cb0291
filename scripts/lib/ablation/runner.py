"""Runs what is not finished, some at a time. dsmoe itself resumes a run that was cut off."""

import os
import signal
import subprocess
import time

from . import program
from .progress import Progress
from .state import check_folder, is_finished, state

POLL = 0.2  # seconds


class Interrupted(Exception):
    """The argument is the signal's number."""


class Job:
    """One run under way. It has its own process group: a Ctrl-C reaches it only through stop()."""

    def __init__(self, run):
        self.run = run
        run.folder.mkdir(parents=True, exist_ok=True)
        self.log = run.folder / "stdout.log"
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(run.command)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(run.command, env=program.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def stop(self):
        """dsmoe saves and ends; mpirun hands SIGUSR1 on to the ranks, where SIGTERM would kill them."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1 if "-np" in self.run.command else signal.SIGTERM)

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def last_words(self):
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(f"\n  | {line}" for line in lines[-8:])


class Runner:

    def __init__(self, runs, jobs):
        for run in runs:
            check_folder(run)
        self.progress = Progress(runs, jobs)
        self.jobs = jobs
        self.waiting = [run for run in runs if not is_finished(run)]
        self.finished, self.failed, self.running = len(runs) - len(self.waiting), [], []

    def start(self):
        run = self.waiting.pop(0)
        verb = "resuming" if state(run) == "partial" else "starting"
        self.progress.say(f"{verb} {run.label}")
        self.running.append(Job(run))

    def collect(self):
        """Takes the jobs that have ended off the list."""
        for job in [job for job in self.running if job.process.poll() is not None]:
            self.running.remove(job)
            if is_finished(job.run):
                self.finished += 1
                self.progress.say(f"finished {job.run.label}")
            else:
                self.failed.append(job.run)
                self.progress.say(f"failed   {job.run.label}: exit code {job.process.returncode}, {job.log} ends with"
                                  + job.last_words())

    def execute(self):
        """True when every run is finished. Interrupted: after the running ones have saved."""
        if self.finished:
            self.progress.say(f"{self.finished} runs are finished already")
        try:
            with_signals(self.loop)
        except Interrupted:
            self.interrupt()
            raise
        finally:
            for job in self.running:
                job.kill()
        return not self.failed

    def loop(self):
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.jobs:
                self.start()
            time.sleep(POLL)
            self.collect()
            self.progress.show([job.run for job in self.running], self.finished, len(self.failed))
        self.progress.clear()

    def interrupt(self):
        self.progress.say(f"stopping {len(self.running)} runs after the step under way; once more: at once")
        for job in self.running:
            job.stop()
        try:
            with_signals(lambda: [job.process.wait() for job in self.running])
        except Interrupted:
            return
        self.progress.say("stopped; the same command goes on from here")
        self.running = []


def with_signals(call):
    """Calls it; SIGINT and SIGTERM become Interrupted."""
    def interrupt(number, _):
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return call()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
