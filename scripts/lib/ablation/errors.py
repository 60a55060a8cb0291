"""What is the user's to mend: messages with a hint, which end a script with exit code 2."""

import difflib
import sys


class BadInput(Exception):
    """The message, and what to do about it."""

    def __init__(self, problem, hint):
        super().__init__(f"error: {problem}\nhint: {hint}")


def nearest(name, known):
    """', did you mean X?' where X is a known name like this one, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def say(text):
    print(text, file=sys.stderr, flush=True)


def exit_code_of(run):
    """Calls run(); a mistake of the user's is printed once and becomes 2."""
    try:
        return run() or 0
    except BadInput as error:
        say(error)
    except OSError as error:
        say(f"error: {error}\nhint: check the path and its permissions")
    return 2
