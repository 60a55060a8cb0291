"""One conversation from any of three shapes: a list of {"role", "content", optional "weight"}."""

import math

from ablation.errors import BadInput

ROLES = {role: role for role in ("system", "user", "assistant")}
SHAREGPT_ROLES = ROLES | {"human": "user", "gpt": "assistant"}
SHAPES = ('a row is {"messages": [{"role", "content"}]}, {"instruction", "input", "output"} or '
          '{"conversations": [{"from", "value"}]}')


def message(place, turn, role_key, content_key, roles):
    """With the template's names; whatever else the turn holds is kept for the template."""
    if not isinstance(turn, dict) or not isinstance(turn.get(content_key), str):
        raise BadInput(f"{place}: a turn without a string `{content_key}`", SHAPES)
    role = turn.get(role_key)
    if not isinstance(role, str) or role not in roles:
        raise BadInput(f"{place}: unknown role {role!r} in `{role_key}`", f"the roles are {', '.join(roles)}")
    others = {key: value for key, value in turn.items() if key not in (role_key, content_key)}
    return {"role": roles[role], "content": turn[content_key], **others}


def turns(place, row, key, role_key, content_key, roles):
    if not isinstance(row[key], list):
        raise BadInput(f"{place}: `{key}` is {type(row[key]).__name__}, not a list", SHAPES)
    return [message(place, turn, role_key, content_key, roles) for turn in row[key]]


def text_of(place, row, key):
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{place}: `{key}` is {type(value).__name__}, not a string", SHAPES)
    return value or ""


def alpaca(place, row):
    """History first; the input stands under the instruction."""
    history = row.get("history") or []
    if not (isinstance(history, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in history)):
        raise BadInput(f"{place}: `history` is not a list of [question, answer]", SHAPES)
    if not isinstance(row.get("output"), str):
        raise BadInput(f"{place}: no string `output`", SHAPES)
    question = "\n".join(filter(None, (text_of(place, row, "instruction"), text_of(place, row, "input"))))
    pairs = [*history, (question, row["output"])]
    texts = [{"role": role, "content": text} for pair in pairs for role, text in zip(("user", "assistant"), pair)]
    return turns(place, {"history": texts}, "history", "role", "content", ROLES)


def system(place, row):
    text = text_of(place, row, "system")
    return [{"role": "system", "content": text}] if text else []


def check_weight(place, turn):
    weight = turn.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise BadInput(f"{place}: weight {weight!r} is not a number >= 0", "0: not learned; 1: learned; 0.5: by half")


def conversation(place, row):
    if row.get("tools"):
        raise BadInput(f"{place}: `tools` would be left out of the text", "remove the rows that call tools")
    if "messages" in row:
        found = turns(place, row, "messages", "role", "content", ROLES)
    elif "conversations" in row:
        found = system(place, row) + turns(place, row, "conversations", "from", "value", SHAREGPT_ROLES)
    elif "instruction" in row:
        found = system(place, row) + alpaca(place, row)
    else:
        raise BadInput(f"{place}: no `messages`, `conversations` or `instruction`", SHAPES)
    if not found:
        raise BadInput(f"{place}: an empty conversation", SHAPES)
    if not any(turn["role"] == "assistant" for turn in found):
        raise BadInput(f"{place}: no turn of the assistant, so nothing to learn", "add the answer, or drop the row")
    for turn in found:
        check_weight(place, turn)
    return found
