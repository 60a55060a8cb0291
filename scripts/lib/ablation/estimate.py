"""How long runs take, from the speed of those that have run; nothing is guessed."""

import statistics

from .state import is_finished, last_metrics


def speed(runs):
    """Tokens per second of one run: the median of the finished ones, else of those under way; None: unknown."""
    for wanted in (is_finished, lambda run: True):
        lasts = [last for run in runs if wanted(run) and (last := last_metrics(run.folder))]
        if lasts:
            return statistics.median(last["tokens_per_second"] for last in lasts)
    return None


def tokens_left(run):
    if is_finished(run):
        return 0
    last = last_metrics(run.folder)
    return run.tokens - (last["tokens"] if last else 0)


def seconds_left(runs, jobs):
    """Until all are finished, `jobs` at a time; None: unknown."""
    pace = speed(runs)
    left = [tokens for run in runs if (tokens := tokens_left(run)) > 0]
    if not left:
        return 0.0
    if not pace:
        return None
    return max(max(left), sum(left) / min(jobs, len(left))) / pace


def spoken(seconds):
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
