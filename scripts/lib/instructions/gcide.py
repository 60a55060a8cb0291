"""Reads an entry of the dictionary GCIDE: headword, parts of speech, a short definition, synonyms, inflections.

    Casualty \\Cas"u*al*ty\\, n.; pl. {Casualties}. [F. casualit['e],
       LL. casualitas.]
       1. That which comes without design or without being foreseen;
          contingency.
          [1913 Webster]

       Syn: Accident; contingency; fortuity; misfortune.
            [1913 Webster]

The head ends where its brackets are closed at the end of a line. What cannot be read without doubt is left out.
"""

import dataclasses
import re
import unicodedata

KINDS = {"n": "noun", "v": "verb", "a": "adjective", "adj": "adjective", "adv": "adverb", "prep": "preposition",
         "conj": "conjunction", "interj": "interjection", "pron": "pronoun"}
# Words between the abbreviations of parts of speech that say more than is asked here.
SHADES = {"t", "i", "&", "pl", "sing", "prop", "p", "prenom", "pred"}
# Headword \Pronunciation\ (pronunciation again), parts of speech
HEAD = re.compile(r"(?P<word>[^\\\n(]+?)\s+\\[^\\]*\\,?\s*(?:\([^()]*\))?[\s,]*"
                  r"(?P<kinds>(?:[a-z]+\.(?:,? |(?=[;,.\s\[({]|$))|& )+)")
WORD = re.compile(r"(?=.*[aeiouy])[A-Za-z][a-z]+(?:[ '-][A-Za-z][a-z]+){0,2}")
ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", ",": "\u0327", "=": "\u0304"}
DATED = re.compile(r"\(Obs|\[(?:Obs|R\b|Archaic|Prov|Scot|Low|Slang|Cant|Poetic|Colloq|Rare|obs|archaic)")
LABELS = re.compile(r"(?:\s*\((?:[A-Z][\w&.' -]*)\))+\s*")
NO_DEFINITION = re.compile(r"(?:see|same as|cf|of [A-Z]\w+\.|alt|var|pl|imp|p|a variant|an? abbrev|obs|def|hence)\b"
                           r"|\W|.*\b(\w+) \1\b", re.I)
# What follows a definition: "; -- said of ...", "; as, ..." and an example, a reference, a quotation.
AFTERWARDS = re.compile(r"[;,:]? --|; as an? |[;,:] (?:as|thus|specifically|also|e\. ?g)[,:] |[.;,] Cf\. |\. \""
                        r"| (?:See|Compare|Opposite of|Called|Contrasted with) ")
NO_SYNONYM = re.compile(r"(?:see|genus|family|order|class|division) ", re.I)
SOURCE = re.compile(r"\[[^\[\]]*(?:Webster|WordNet|PJC|RDH|Century)[^\[\]]*\]")
SOURCE_LINE = re.compile(r"^ *\[[\w .+]+\]$", re.M)
MARKUP = re.compile(r"[^A-Za-z\u00c0-\u017f ,;:.()'-]|--|\([A-Z][\w. ]*\.\)")
MAX_DEFINITION = 200


@dataclasses.dataclass(frozen=True)
class Entry:
    word: str
    kinds: tuple
    definition: str  # "" where there is none that is short and clean
    synonyms: tuple
    plural: str
    past: str


def accented(match):
    """The letter that GCIDE writes as ['e] and the like."""
    mark, letter = match.groups()
    return unicodedata.normalize("NFC", letter + ACCENTS[mark])


def letters(text):
    text = re.sub(r"\[(['`^\"~,=])([A-Za-z])\]", accented, text)
    return re.sub(r"\[([aoAO]e)\]", r"\1", text)


def balanced(text):
    return all(text.count(left) == text.count(right) for left, right in ("[]", "()", "{}"))


def split_head(lines):
    """The head in one line, and the number of lines it takes; None where its end is in doubt."""
    for count in range(1, min(len(lines), 8) + 1):
        head = " ".join(line.strip() for line in lines[:count])
        if not balanced(re.sub(r"\\[^\\]*\\", "", head)) or head.endswith((",", ";", "&")):
            continue
        following = LABELS.sub("", lines[count].strip()) if count < len(lines) else ""
        if not following or following[0].isupper() or following[0] == "1" or len(lines[count - 1]) < 50:
            return head, count
    return None


def kinds_of(text):
    """The parts of speech, or None where one is not known."""
    found = []
    for part in re.findall(r"[a-z]+|&", text):
        if part in KINDS and KINDS[part] not in found:
            found.append(KINDS[part])
        elif part not in KINDS and part not in SHADES:
            return None
    return tuple(found) or None


def sentences(text, limit):
    """At most two whole sentences from the beginning that fit. A short word before a dot may be an abbreviation."""
    ends = [match.end() for match in re.finditer(r"(?<=[a-z]{4})\)?\.(?= [A-Z]\w* \w+ )", text)] + [len(text)]
    fitting = [end for end in ends[:2] if end <= limit]
    return text[: fitting[-1]] if fitting else ""


def definition_of(sense):
    """A sense without labels, examples, sources and markup; "" where that leaves nothing whole."""
    if DATED.search(sense):
        return ""
    text = " ".join(letters(SOURCE.split(sense)[0]).split())
    text = re.sub(r"\{([^{}]*)\}", r"\1", re.sub(r"\s*\[[^\[\]]*\]", "", text))
    text = AFTERWARDS.split(text)[0]
    text = LABELS.sub("", text, count=1).strip() if text.startswith("(") else text.strip()
    text = sentences(text.rstrip(" ,;:.") + ".", MAX_DEFINITION)
    if text.count(" ") < 2 or MARKUP.search(text) or not balanced(text) or NO_DEFINITION.match(text):
        return ""
    return text[0].upper() + text[1:]


def senses(paragraphs):
    for paragraph in (paragraph.strip("\n") for paragraph in paragraphs):
        match = re.match(r" {3}(?:(\d+)\. )?(?=[A-Za-z(\[\"])", paragraph)
        if match and not re.match(r" {3}(?:Syn|Note|Usage|Ant)\b", paragraph):
            yield paragraph[match.end() :]


def synonyms_of(text, word):
    match = re.search(r"^ +Syns?: (.*?)(?=\n\s*\n|\n *Usage:|\n *Note:|\Z)", text, re.M | re.S)
    if not match:
        return ()
    listed = re.sub(r"\{([^{}]*)\}", r"\1", re.sub(r"\[[^\[\]]*\]", "", letters(match.group(1))))
    listed = re.split(r"--|\. |\.$", " ".join(listed.split()))[0]
    items = (re.sub(r"^[Tt]o ", "", item.strip()) for item in re.split(r"[;,]", listed))
    found = dict.fromkeys(item for item in items if WORD.fullmatch(item) and item.lower() != word.lower())
    return tuple(item for item in found if not NO_SYNONYM.match(item))


def inflection(label, text):
    """The form in braces after the label; "" where there is a choice of several."""
    match = re.search(label + r"\s*\{([A-Za-z]+)\}(?!,?\s*(?:\([^()]*\),?\s*)?(?:or|&|\{))", text)
    return match.group(1) if match else ""


def parse(text):
    """The entry, or None where its head cannot be read."""
    lines = text.split("\n")
    paragraph = lines[: lines.index("")] if "" in lines else lines
    split = split_head(paragraph)
    match = split and HEAD.match(split[0])
    kinds = match and kinds_of(match["kinds"])
    if not kinds or not WORD.fullmatch(letters(match["word"])):
        return None
    head, count = split
    rest = SOURCE_LINE.sub("", "\n" + "\n".join(lines[count:]))
    found = (definition_of(sense) for sense in senses(re.split(r"\n\s*\n", rest)))
    definition = next(filter(None, found), "")
    word = letters(match["word"])
    return Entry(word, kinds, definition, synonyms_of(text, word), inflection(r"\bpl\.", head.split("[")[0]),
                 inflection(r"\bimp\.(?: & p\. p\.)?", head))
