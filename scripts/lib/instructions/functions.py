"""Short functions with a docstring: the source without it, and its summary."""

import ast
import dataclasses
import re
import textwrap
import warnings

MAX_SOURCE = 420
MAX_SUMMARY = 120
EMPTY = (ast.Pass, ast.Expr)
SAYS_LITTLE = re.compile(r"(?:see |override|deprecated|undocumented|private)"
                         r"|.*(?:internal|>>>|::|`{2}|TODO|XXX|->|--)", re.I)


@dataclasses.dataclass(frozen=True)
class Function:
    source: str
    signature: str  # the line of `def`; "" for a method, a private function, or where it takes several lines
    parameters: tuple
    summary: str


def summary_of(docstring):
    """The first sentence of the first paragraph if it is short; else "". A line may end it without a full stop."""
    paragraph = re.split(r"\n\s*\n|\n\s*(?=[A-Z])", docstring.strip())[0]
    sentence = re.split(r"(?<=[a-z)\]'\"]{3}\.) (?=[A-Z])", " ".join(paragraph.split()))[0].rstrip(".:") + "."
    if not 15 <= len(sentence) <= MAX_SUMMARY or sentence.count(" ") < 2:
        return ""
    return "" if SAYS_LITTLE.match(sentence) or not sentence[0].isupper() else sentence


def without_docstring(node, lines):
    """The function's source; "" where the docstring shares a line with code."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    doc = node.body[0]
    if node.body[1].lineno <= doc.end_lineno or doc.lineno <= node.lineno:
        return ""
    after = lines[doc.end_lineno : node.end_lineno]
    while not after[0].strip():
        after = after[1:]
    return textwrap.dedent("\n".join(lines[first : doc.lineno - 1] + after)).strip("\n")


def parameters_of(arguments):
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += ["*" * stars + a.arg for stars, a in ((1, arguments.vararg), (2, arguments.kwarg)) if a]
    return tuple(name for name in names if name not in ("self", "cls"))


def is_method(arguments):
    return bool(arguments.args) and arguments.args[0].arg in ("self", "cls", "mcs", "klass")


def function_of(node, lines):
    docstring = ast.get_docstring(node)
    if not docstring or all(isinstance(statement, EMPTY) for statement in node.body[1:]):
        return None
    summary, source = summary_of(docstring), without_docstring(node, lines)
    if not summary or len(source) > MAX_SOURCE or re.search(r"[^\n -~]", source):
        return None
    head = next((line for line in source.split("\n") if re.match(r"(async )?def ", line)), None)
    if head is None:  # a string that begins at the margin keeps the function from being moved there
        return None
    alone = not is_method(node.args) and not node.decorator_list and not node.name.startswith("_")
    signature = head[:-1] if alone and head.endswith(":") else ""
    return Function(source, signature, parameters_of(node.args), summary)


def functions(text):
    """Those of a source file, in its order; none where this Python cannot read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    lines = text.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found = function_of(node, lines)
            if found:
                yield found
