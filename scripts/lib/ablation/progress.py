"""What is seen while a study runs: a live table on a terminal, plain lines elsewhere."""

import shutil
import sys
import time

from .estimate import seconds_left, spoken
from .state import last_metrics

PLAIN_EVERY = 60.0  # seconds between plain lines of progress


def run_line(run):
    last = last_metrics(run.folder)
    if not last:
        return f"{run.label}  starting"
    left = (run.tokens - last["tokens"]) / max(last["tokens_per_second"], 1e-9)
    return (f"{run.label}  step {last['step']}/{run.steps} {100 * last['step'] / run.steps:3.0f} %  "
            f"loss {last['loss']:.4f}  MaxVio {last['load']['max_vio']:.2f}  "
            f"{last['tokens_per_second']:,.0f} tokens/s  {spoken(left)} left")


class Progress:

    def __init__(self, runs, jobs, stream=sys.stderr):
        self.runs, self.jobs, self.stream = runs, jobs, stream
        self.live = stream.isatty()
        self.drawn = 0
        self.spoken_at = time.monotonic()

    def say(self, text):
        """A line that stays."""
        self.clear()
        print(text, file=self.stream, flush=True)

    def clear(self):
        if self.drawn:
            self.stream.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def lines(self, running, finished, failed):
        waiting = len(self.runs) - len(running) - finished - failed
        counts = f"{finished} of {len(self.runs)} runs finished, {len(running)} running, {waiting} waiting"
        counts += f", {failed} failed" if failed else ""
        return [*map(run_line, running), f"{counts}; time left: {spoken(seconds_left(self.runs, self.jobs))}"]

    def show(self, running, finished, failed):
        """Called several times a second."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            lines = self.lines(running, finished, failed)
            self.clear()
            self.stream.write("".join(f"{line[:width]}\n" for line in lines))
            self.stream.flush()
            self.drawn = len(lines)
        elif time.monotonic() - self.spoken_at > PLAIN_EVERY:
            self.spoken_at = time.monotonic()
            for line in self.lines(running, finished, failed):
                self.say(line)
