"""YAML read as text with lines: {key: Entry}, lists and scalars, where no key stands twice in a map.

Scalars stay the words that were written, so that 1e-3, 0.10 and none mean to dsmoe what dsmoe makes of them.
"""

import dataclasses
import json

import yaml

from .errors import BadInput


@dataclasses.dataclass(frozen=True)
class Entry:
    line: int
    node: yaml.Node


def read(path):
    """The root node of the one document in this file."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInput(f"{where}: not YAML: {getattr(error, 'problem', None) or error}",
                       "indent with blanks, and write `key: value`") from None
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{path}:1: a study is a map of keys", "configs/studies/ has an example")
    return node


def line_of(node):
    return node.start_mark.line + 1


def entries(node, path):
    """The keys of a map, in their order."""
    found = {}
    for key, value in node.value:
        if key.value in found:
            raise BadInput(f"{path}:{line_of(key)}: {key.value} stands twice, first in line {found[key.value].line}",
                           "keep one of them")
        found[key.value] = Entry(line_of(key), value)
    return found


def is_null(node):
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def flow(node):
    """The node as one line of YAML, for a key=value of the command line."""
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(flow(item) for item in node.value) + "]"
    if isinstance(node, yaml.MappingNode):
        return "{" + ", ".join(f"{flow(key)}: {flow(value)}" for key, value in node.value) + "}"
    return node.value if node.style is None and node.value else json.dumps(node.value)
