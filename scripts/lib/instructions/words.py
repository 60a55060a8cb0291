"""What the dictionary says about a word as one part of speech, from its entries; capitals as in running text."""

import collections
import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Word:
    key: str  # in small letters: what decides whether the word is held out
    name: str
    kind: str  # noun, verb, ...
    kinds: tuple  # all parts of speech of the word; () where an entry does not tell
    definition: str
    synonyms: tuple
    plural: str
    past: str


TAXON = re.compile(r"\w+(?:idae|aceae) "
                   r"|\w+ (?:\S+ ){1,4}(?:genus|family|order|suborder|class|subclass|division|tribe)\b")


class Capitals:
    """Headwords of 1913 begin with a capital; a name is what running text writes with one."""

    def __init__(self, texts):
        self.small, self.capital = collections.Counter(), collections.Counter()
        for text in texts:
            self.small.update(re.findall(r"\b[a-z]+", text))
            self.capital.update(re.findall(r"(?<=[a-z,;] )[A-Z][a-z]+", text))

    def as_in_text(self, name):
        return re.sub(r"[A-Z][a-z]+", self.part, name)

    def of_headword(self, entry):
        """As in text; what no text has keeps its capital if it is a taxon, or made from a name in its definition."""
        word = entry.word
        unseen = not self.capital[word] and self.small[word.lower()] <= 1
        named = TAXON.match(f"{word} {entry.definition}") or f" {word[:4]}" in entry.definition
        return word if unseen and named else self.as_in_text(word)

    def part(self, match):
        name = match.group()
        return name if self.capital[name] > self.small[name.lower()] else name.lower()


def grouped(entries):
    """{word in small letters: its entries, in the dictionary's order}."""
    groups = collections.defaultdict(list)
    for entry in entries:
        groups[entry.word.lower()].append(entry)
    return groups


def first(entries, field):
    return next((value for entry in entries if (value := getattr(entry, field))), "")


def words(entries, unread, capitals):
    """unread: headwords in small letters of entries that could not be read."""
    for key, group in grouped(entries).items():
        all_kinds = tuple(dict.fromkeys(kind for entry in group for kind in entry.kinds))
        name = capitals.of_headword(group[0])
        for kind in all_kinds:
            own = [entry for entry in group if entry.kinds == (kind,)]
            if own:
                yield Word(key, name, kind, () if key in unread else all_kinds, first(own, "definition"),
                           tuple(map(capitals.as_in_text, first(own, "synonyms"))),
                           capitals.as_in_text(first(own, "plural")), capitals.as_in_text(first(own, "past")))
