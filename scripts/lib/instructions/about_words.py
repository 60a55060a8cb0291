"""Conversations about a word of the dictionary."""

from instructions.choice import number, one_of

DEFINE = ("What does {it} mean?", "Define {it}.", "Give a short definition of {it}.",
          "What is the meaning of {it}?", "Explain {it} in one or two sentences.", "How does a dictionary define {it}?")
SYNONYM = (("Give a synonym of {it}.", 'A synonym of "{name}" is "{synonym}".'),
           ("What is another word for {it}?", 'Another word for "{name}" is "{synonym}".'),
           ("Which word means about the same as {it}?", '"{synonym}" means about the same as "{name}".'),
           ("Answer with one synonym: {it}", "{synonym}"))
SYNONYMS = (("List synonyms of {it}.", "{synonyms}"),
            ("Which words mean about the same as {it}?", 'Synonyms of "{name}" are {synonyms}.'),
            ("Name {count} synonyms of {it}.", "{synonyms}"))
KIND = (('What part of speech is "{name}"?', '"{name}" is {kinds}.'),
        ('Which part of speech is the word "{name}"?', 'The word "{name}" is {kinds}.'),
        ('Name the part of speech of "{name}".', "It is {kinds}."),
        ('How is the word "{name}" used in a sentence: as a noun, a verb, or something else?', "As {kinds}."))
KINDS = (('What parts of speech can "{name}" be?', '"{name}" can be {kinds}.'),
         ('As what is the word "{name}" used in a sentence?', 'The word "{name}" is used as {kinds}.'))
REVERSE = (("Which {kind} means this? {definition}", "{name}"),
           ("Find the word for this definition: {definition}", 'The word is "{name}".'),
           ("Here is the definition of {a_kind}: {definition} Which word is it?", 'It is "{name}".'))
PLURAL = (('What is the plural of "{name}"?', 'The plural of "{name}" is "{plural}".'),
          ('Write the plural of the noun "{name}".', "{plural}"))
PAST = (('What is the past tense of "{name}"?', 'The past tense of "{name}" is "{past}".'),
        ('Write the past tense of the verb "{name}".', "{past}"))
THEN_MEANING = ("And what does it mean?", "What does it mean?", "Can you define it?")
THEN_SYNONYM = (("Can you give me a synonym?", 'Yes: "{synonym}".'), ("What is another word for it?", "{synonym}"),
                ("And a synonym?", 'A synonym is "{synonym}".'))
THEN_KIND = (("What part of speech is it?", "It is {kinds}."),
             ("Is it a noun, a verb, or something else?", "It is {kinds}."))
THEN_PLURAL = (("What is its plural?", 'Its plural is "{plural}".'), ("And the plural?", "{plural}"))
THEN_PAST = (("What is its past tense?", 'Its past tense is "{past}".'), ("And the past tense?", "{past}"))


def with_article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def listed(items, conjunction):
    """a; a or b; a, b or c."""
    *others, last = items
    return f"{', '.join(others)} {conjunction} {last}" if others else last


class About:
    """Asks about one word, each question worded by the hash of what is asked."""

    def __init__(self, word):
        self.word = word
        few = word.synonyms[:3]
        self.facts = {
            "name": word.name, "kind": word.kind, "a_kind": with_article(word.kind), "definition": word.definition,
            "kinds": listed([with_article(kind) for kind in word.kinds], "or") if word.kinds else "",
            "synonym": few[0] if few else "", "synonyms": listed(few, "and") if few else "",
            "count": {2: "two", 3: "three"}.get(len(few), ""), "plural": word.plural, "past": word.past}

    def chosen(self, options, task):
        return one_of(options, task, self.word.key, self.word.kind)

    def share(self, task, parts):
        """True for one in `parts` of all words."""
        return number("share", task, self.word.key, self.word.kind) % parts == 0

    def turn(self, task, wordings):
        """A question and its answer; `wordings` are such pairs."""
        named = ('the {kind} "{name}"',) if self.word.kinds != (self.word.kind,) else (
            '"{name}"', '"{name}"', 'the word "{name}"', 'the {kind} "{name}"')
        it = self.chosen(named, task + " it").format(**self.facts)
        question, answer = self.chosen(wordings, task)
        return question.format(it=it, **self.facts), answer.format(it=it, **self.facts)

    def meaning(self, questions=DEFINE):
        return self.turn("define", [(question, "{definition}") for question in questions])

    def kind(self):
        return self.turn("part_of_speech", KIND if len(self.word.kinds) == 1 else KINDS)

    def inflection(self, plural=PLURAL, past=PAST):
        return self.turn("inflection", plural if self.word.plural else past)

    def synonym(self):
        several = len(self.word.synonyms) > 1 and self.share("several", 2)
        return self.turn("synonym", SYNONYMS if several else SYNONYM)


def follow_ups(about):
    """What can be asked after the meaning."""
    word = about.word
    if word.synonyms:
        yield about.turn("then synonym", THEN_SYNONYM)
    if word.plural or word.past:
        yield about.inflection(THEN_PLURAL, THEN_PAST)
    if word.kinds == (word.kind,):
        yield about.turn("then kind", THEN_KIND)


def dialogue(about):
    """Two or three turns: part of speech or meaning first; [] where there is nothing to go on with."""
    after = list(follow_ups(about))
    if not after:
        return []
    if about.word.kinds == (about.word.kind,) and about.share("kind first", 2):
        return [about.kind(), about.meaning(THEN_MEANING), *after[:-1][:1]]
    return [about.meaning(), *after[: 1 + about.share("longer", 3)]]


def conversations(word, unique_definition):
    """(domain, turns) of all that is asked about a word; its meaning is asked for once."""
    about = About(word)
    in_dialogue = bool(word.definition) and about.share("dialogue", 4) and dialogue(about)
    if in_dialogue:
        yield "dialogue", in_dialogue
    elif word.definition:
        yield "define", [about.meaning()]
    if word.synonyms and not in_dialogue:
        yield "synonym", [about.synonym()]
    if word.kinds and word.kind == word.kinds[0] and about.share("part_of_speech", 5):
        yield "part_of_speech", [about.kind()]
    if (word.plural or word.past) and not in_dialogue:
        yield "inflection", [about.inflection()]
    if unique_definition and word.name.lower() not in word.definition.lower() and about.share("reverse", 6):
        yield "reverse", [about.turn("reverse", REVERSE)]
