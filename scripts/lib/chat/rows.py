"""Reads JSON objects with the place where each stands, FILE:LINE."""

import json

from ablation.errors import BadInput

ONE_A_LINE = 'write one object a line, such as {"messages": [...]}, or in a .json file an array of objects'


def decoded(content, place):
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"{place}: not UTF-8 ({error.reason} at byte {error.start})"
        raise BadInput(problem, "save the file as UTF-8") from None


def checked(value, place):
    if not isinstance(value, dict):
        raise BadInput(f"{place}: {type(value).__name__}, not an object", ONE_A_LINE)
    return place, value


def rows_of_lines(path):
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{path}:{number}"
            text = decoded(line, place)
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except ValueError as error:
                raise BadInput(f"{place}: not JSON ({error})", ONE_A_LINE) from None
            yield checked(value, place)


def blanks(text, start):
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start


def rows_of_array(path, text):
    """The elements one by one, so that each has its line."""
    decoder, position, line, counted = json.JSONDecoder(), blanks(text, text.index("[") + 1), 1, 0
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        place = f"{path}:{line}"
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError as error:
            raise BadInput(f"{place}: not JSON ({error})", ONE_A_LINE) from None
        yield checked(value, place)
        position = blanks(text, end)
        if text.startswith(",", position):
            position = blanks(text, position + 1)
        elif not text.startswith("]", position):
            line += text.count("\n", counted, position)
            raise BadInput(f"{path}:{line}: no comma or end of the array here", ONE_A_LINE)


def rows(path):
    """(FILE:LINE, object) of each row."""
    if path.suffix == ".json":
        text = decoded(path.read_bytes(), path)
        if text.lstrip().startswith("["):
            return rows_of_array(path, text)
    return rows_of_lines(path)
