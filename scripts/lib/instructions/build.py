"""All conversations: what is asked about every word and function, split by word and function."""

import collections
import json
import re

import debian_packages
from instructions import about_functions, about_words
from instructions.choice import held_out, number, one_of
from instructions.functions import functions
from instructions.gcide import parse
from instructions.words import Capitals, words

MAX_BYTES = 600
SYSTEM = {True: ("You are a dictionary.", "You are a helpful assistant who knows words well.", "Answer briefly."),
          False: ("You are an expert in Python.", "You document Python code.", "Answer briefly.")}


def about_all_words(folder):
    """(word, domain, turns) for the whole dictionary."""
    texts = list(debian_packages.texts(debian_packages.dictionary(folder)))
    parsed = [(text, parse(text)) for text in texts]
    unread = {re.split(r"\s*\\", text, maxsplit=1)[0].lower() for text, entry in parsed if not entry}
    found = list(words((entry for _, entry in parsed if entry), unread, Capitals(texts)))
    times = collections.Counter(word.definition for word in found)
    for word in found:
        for domain, turns in about_words.conversations(word, times[word.definition] == 1):
            yield word.key, domain, turns


def about_all_functions(root):
    """(source, domain, turns) for the whole library; a function that stands there twice is taken once."""
    seen = set()
    for text in debian_packages.texts(debian_packages.standard_library(root)):
        for function in functions(text):
            if function.source not in seen:
                seen.add(function.source)
                for domain, turns in about_functions.conversations(function):
                    yield function.source, domain, turns


def messages(turns, about_word):
    """One conversation in eight begins with a system message."""
    asked = turns[0][0]
    if number("system", asked) % 8 == 0:
        yield {"role": "system", "content": one_of(SYSTEM[about_word], "which system", asked)}
    for question, answer in turns:
        yield {"role": "user", "content": question}
        yield {"role": "assistant", "content": answer}


def conversations(dictionary, library):
    """(held out, domain, bytes, line) of each conversation, by the hashes of the lines: mixed from the start."""
    lines = {}
    for subjects, about_word in ((about_all_words(dictionary), True), (about_all_functions(library), False)):
        for subject, domain, turns in subjects:
            content = list(messages(turns, about_word))
            size = sum(len(message["content"].encode()) for message in content)
            if size <= MAX_BYTES:
                line = json.dumps({"messages": content, "domain": domain}, ensure_ascii=False) + "\n"
                lines[line] = (held_out(subject), domain, size)
    return [(*lines[line], line) for line in sorted(lines, key=number)]
