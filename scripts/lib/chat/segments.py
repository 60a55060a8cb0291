"""The rendered text of a conversation, cut where the assistant begins and ends."""

from ablation.errors import BadInput


def weights_of(place, messages, spans):
    """A weight for each span: those of the assistant's messages, where each has its span."""
    weights = [message.get("weight", 1) for message in messages if message["role"] == "assistant"]
    if len(weights) == len(spans):
        return weights
    if set(weights) == {1}:
        return [1] * len(spans)
    raise BadInput(f"{place}: {len(weights)} messages of the assistant have weights, but the template marks "
                   f"{len(spans)} spans", "leave the weights out, or mark each message once in the template")


def cut(text, spans, weights):
    """The pieces in order, empty ones left out; all their texts together are the text."""
    end = 0
    for (first, last), weight in zip(spans, weights):
        yield text[end:first], 0
        yield text[first:last], weight
        end = last
    yield text[end:], 0


def segments(place, template, messages):
    """[{"text", "weight"}]"""
    said = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    text, spans = template.render(place, said)
    if not spans:
        raise BadInput(f"{place}: the chat template marks nothing in this conversation",
                       f"see {template.path} for when it reaches {{% generation %}}")
    weights = weights_of(place, messages, spans)
    return [{"text": piece, "weight": weight} for piece, weight in cut(text, spans, weights) if piece]
