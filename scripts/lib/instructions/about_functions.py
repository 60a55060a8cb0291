"""Conversations about a function of the standard library."""

from instructions.choice import number, one_of

SUMMARY = ("Write a one-line docstring for this function.", "Summarize this Python function in one sentence.",
           "What does this function do?", "Document this function in one line.")
WRITE = ("Write a Python function that starts with `{signature}`. {summary}",
         "Implement `{signature}` in Python. {summary}")
THEN_PARAMETERS = ("Which parameters does it take?", "And what are its parameters?")


def fenced(source):
    return f"```python\n{source}\n```"


def parameters_answer(names):
    *others, last = (f"`{name}`" for name in names)
    return f"It takes {', '.join(others)} and {last}." if others else f"It takes {last}."


def conversations(function):
    """(domain, turns) of all that is asked about a function."""
    source, summary = function.source, function.summary
    question = one_of(SUMMARY, "summary", source)
    turns = [(f"{question}\n\n{fenced(source)}", summary)]
    if function.parameters and number("dialogue", source) % 4 == 0:
        then = one_of(THEN_PARAMETERS, "parameters", source)
        yield "dialogue", turns + [(then, parameters_answer(function.parameters))]
    else:
        yield "docstring", turns
    if function.signature:
        asked = one_of(WRITE, "write", source).format(signature=function.signature, summary=summary)
        yield "code", [(asked, fenced(source))]
