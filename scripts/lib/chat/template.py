"""A tokenizer's chat template: found, checked, and rendered by transformers' own renderer."""

import json
import re

import jinja2
from ablation.errors import BadInput
from chat.rows import decoded
from jinja2 import meta, nodes
from transformers.utils import chat_template_utils

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")  # what the renderer looks for
MARK = ("put what the model should learn between the markers, such as {% if message['role'] == 'assistant' %}"
        "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{% endif %}")
# What is rendered apart from the rest, where the renderer counts characters from the wrong place.
APART = (nodes.Macro, nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock)
FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError)


def read_object(path):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({error})", "take the file as the model's authors published it") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}: {type(value).__name__}, not an object", "take the file as its authors published it")
    return value


def template_text(folder, config):
    """(file, template); chat_template.jinja goes before the entry of tokenizer_config.json."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return path, decoded(path.read_bytes(), path)
    template = config.get("chat_template")
    if isinstance(template, list):  # several with names
        template = next((entry.get("template") for entry in template if entry.get("name") == "default"), None)
    if not isinstance(template, str):
        raise BadInput(f"{folder}: no chat_template in tokenizer_config.json, nor a chat_template.jinja",
                       "add the template of the model's authors, or train on the messages themselves")
    return folder / "tokenizer_config.json", template


def special_tokens(folder, config):
    """{bos_token: ...} as transformers hands them to a template; None where the tokenizer has none."""
    legacy = folder / "special_tokens_map.json"
    if legacy.exists() and "added_tokens_decoder" not in config:
        config = config | read_object(legacy)
    named = {key: value for key, value in config.items() if key.endswith("_token")}
    contents = {key: value.get("content") if isinstance(value, dict) else value for key, value in named.items()}
    return {key: value for key, value in contents.items() if value is None or isinstance(value, str)}


def parsed(path, template):
    try:
        return chat_template_utils._compile_jinja_template(template).environment.parse(template)
    except jinja2.TemplateSyntaxError as error:
        raise BadInput(f"{path}: line {error.lineno} of the template: {error.message}", "mend the template") from None


def is_generation(node):
    return isinstance(node, nodes.CallBlock) and isinstance(node.call.node, nodes.ExtensionAttribute)


def check_generation(path, template, tree):
    if not GENERATION.search(template):
        raise BadInput(f"{path}: the chat template does not mark what the assistant writes", MARK)
    for node in (*tree.find_all(APART), *(loop for loop in tree.find_all(nodes.For) if loop.recursive)):
        inner = (child for part in node.body for child in (part, *part.find_all(nodes.CallBlock)))
        if any(map(is_generation, inner)):
            raise BadInput(f"{path}: line {node.lineno} of the template: {{% generation %}} in a block that is "
                           "rendered apart (macro, set, call, filter, recursive loop, another generation)",
                           "the renderer cannot tell where it lands in the text: move it out of there")


def check_tokens(path, tree, tokens):
    for name in ("bos_token", "eos_token"):
        if name in meta.find_undeclared_variables(tree) and name not in tokens:
            raise BadInput(f"{path}: the template uses {name}, which tokenizer_config.json does not name",
                           f'add "{name}" to tokenizer_config.json; null if there is none')


class Template:
    """render() gives the text of a conversation and the spans of it that the assistant writes."""

    def __init__(self, folder):
        path = folder / "tokenizer_config.json"
        config = read_object(path) if path.exists() else {}
        self.path, self.text = template_text(folder, config)
        tokens = special_tokens(folder, config)
        tree = parsed(self.path, self.text)
        check_generation(self.path, self.text, tree)
        check_tokens(self.path, tree, tokens)
        self.tokens = {key: value for key, value in tokens.items() if value is not None}

    def render(self, place, messages):
        try:
            texts, spans = chat_template_utils.render_jinja_template(
                [messages], chat_template=self.text, return_assistant_tokens_mask=True, **self.tokens)
        except FAILURES as error:
            raise BadInput(f"{place}: the chat template refuses this conversation: {error}",
                           f"see {self.path} for what it allows") from None
        return texts[0], spans[0]
