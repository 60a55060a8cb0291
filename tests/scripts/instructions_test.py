"""scripts/instructions: entries and functions as they are read, and all conversations of the installed packages."""

import collections
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
from debian_packages import DICTD
from dictd_package import write_dictionary
from instructions.functions import functions
from instructions.gcide import Entry, parse
from instructions.words import Capitals

CASUALTY = r"""Casualty \Cas"u*al*ty\, n.; pl. {Casualties}. [F. casualit['e],
   LL. casualitas.]
   1. That which comes without design or without being foreseen;
      contingency.
      [1913 Webster]

            Losses that befall them by mere casualty. --Sir W.
                                                  Raleigh.
   2. Any injury of the body from accident; hence, death.

   Syn: Accident; contingency; {misfortune}. See {Harm}.
        [1913 Webster]"""
DOMAINS = {"define", "synonym", "part_of_speech", "inflection", "reverse", "docstring", "code", "dialogue"}
FENCED = re.compile(r"```python\n(.*)\n```", re.S)
SPLITS = ("train", "eval")


def make(out, *options, **variables):
    return subprocess.run([sys.executable, ROOT / "scripts/instructions", "--out", out, *options], text=True,
                          capture_output=True, env=os.environ | variables, check=False)


def entry(head, body):
    return parse(f"{head}\n   {body}\n   [1913 Webster]")


def write_library(folder, source):
    (folder / "asyncio").mkdir(parents=True)
    (folder / "made.py").write_text(source)


def read(folder, split):
    lines = (folder / f"instructions.{split}.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def subject(row):
    """The word in small letters, or the source, that a conversation asks about."""
    contents = [message["content"] for message in row["messages"] if message["role"] != "system"]
    for content in contents:
        if FENCED.search(content):
            return FENCED.search(content)[1]
    named = re.search(r'"([^"]+)"', contents[0]) if row["domain"] != "reverse" else None
    return (named[1] if named else re.sub(r'.*"([^"]+)".*', r"\1", contents[1])).lower()


def is_held_out(text):
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100 == 0


class EntryTest(unittest.TestCase):

    def test_an_entry_is_read_without_its_markup(self):
        self.assertEqual(parse(CASUALTY), Entry(
            "Casualty", ("noun",), "That which comes without design or without being foreseen; contingency.",
            ("Accident", "contingency", "misfortune"), "Casualties", ""))

    def test_examples_labels_sources_and_quotations_are_cut_off(self):
        for body, definition in (
                ("(Zool.) A bird of the genus {Corvus}; -- called also {crow}.", "A bird of the genus Corvus."),
                ("Very bad indeed; as, a lousy job. [U. S.]", "Very bad indeed."),
                ('Free from doubt. --Milton. "A sure way." --Pope.', "Free from doubt."),
                ("One who plays caf['e] music, etc.", "One who plays caf\u00e9 music, etc."),
                ("A kind of cake. It is eaten warm. It is sweet.", "A kind of cake. It is eaten warm."),
                ("A kind of ship.\n   [1913 Webster] Shipper Shipping", "A kind of ship.")):
            self.assertEqual(entry(r"Word \Word\, n.", body).definition, definition)

    def test_what_is_no_definition_on_its_own_is_left_out(self):
        for body in ("See {Throe}.", "Same as {Throe}.", "A throe. [Obs.]", "Cat; feline.",
                     "(a) A big cat. (b) A dog.", "A base, {C10H19N}, of the series.", "A very " + 60 * "long " + "text."):
            self.assertEqual(entry(r"Word \Word\, n.", body).definition, "")

    def test_the_first_sense_that_can_be_told_is_taken(self):
        text = "1. An odd thing. [Obs.]\n\n   2. A strange, new thing.\n\n   3. A third thing."
        self.assertEqual(entry(r"Word \Word\, n.", text).definition, "A strange, new thing.")

    def test_parts_of_speech_and_past_tenses(self):
        for head, kinds, past in ((r"Take \Take\, v. t. [imp. {Took} (t[oo^]k); p. p. {Taken}.]", ("verb",), "Took"),
                                  (r"Wake \Wake\, v. i. [imp. & p. p. {Waked} or {Woke}.]", ("verb",), ""),
                                  (r"Walk \Walk\, v. i. [imp. & p. p. {Walked}.]", ("verb",), "Walked"),
                                  (r"Outlaw \Out*law\, a. & n.", ("adjective", "noun"), "")):
            found = entry(head, "To do a thing.")
            self.assertEqual((found.kinds, found.past), (kinds, past))

    def test_an_entry_whose_head_is_not_understood_is_left_out(self):
        for head in (r"Wex \Wex\, obs. imp. of {Wax}.", r"Cynic \Cyn\ic\, Cynical \Cyn\, a.", "nothing"):
            self.assertIsNone(entry(head, "To grow."))

    def test_capitals_are_those_of_running_text(self):
        capitals = Capitals(["They met in Paris, near Paris and the house; the House, a house of wood."])
        self.assertEqual(capitals.as_in_text("Paris House"), "Paris house")


class FunctionTest(unittest.TestCase):

    def test_a_function_is_read_without_its_docstring(self):
        source = ('class A:\n    @cached\n    def size(self, a, *b):\n'
                  '        """Return the size of a\n        thing. Or so.\n        """\n\n        return 1  # one\n')
        (found,) = functions(source)
        self.assertEqual(found.source, "@cached\ndef size(self, a, *b):\n    return 1  # one")
        self.assertEqual((found.summary, found.signature), ("Return the size of a thing.", ""))
        self.assertEqual(found.parameters, ("a", "*b"))

    def test_long_empty_and_undocumented_functions_are_left_out(self):
        for body in ('"""Return the size of it."""', "return 1", '"""Size."""\n    return 1',
                     '"""Return the size of it."""\n' + 60 * "    return 1\n",
                     '"""Return the size of it."""; return 1'):
            self.assertEqual(list(functions(f"def size(a):\n    {body}\n")), [])


class MadeUpPackagesTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-instructions-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.options = ("--dictionary", self.folder, "--library", self.folder / "library")
        write_dictionary(self.folder, [CASUALTY])
        write_library(self.folder / "library", 'def size(a):\n    """Return the size of it."""\n    return 1\n')

    def refused(self, *words):
        result = make(self.folder / "out", *self.options)
        self.assertEqual(result.returncode, 2, result)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_what_is_asked_comes_from_the_packages(self):
        result = make(self.folder / "out", *self.options)
        self.assertEqual(result.returncode, 0, result)
        rows = read(self.folder / "out", "train") + read(self.folder / "out", "eval")
        answers = " ".join(message["content"] for row in rows for message in row["messages"])
        for fact in ("That which comes without", "accident", "casualties", "Return the size of it.", "return 1"):
            self.assertIn(fact, answers)
        self.assertRegex(result.stdout, rf"\nall +{len(rows)} ")

    def test_missing_packages_are_named(self):
        (self.folder / "library/asyncio").rmdir()
        self.refused("hint: sudo apt-get install libpython3-stdlib")
        (self.folder / "gcide.index").unlink()
        self.refused("hint: sudo apt-get install dict-gcide")

    def test_a_damaged_dictionary_is_refused(self):
        data = self.folder / "gcide.dict.dz"
        data.write_bytes(data.read_bytes()[:-20])
        self.refused("cannot be read", "hint: sudo apt-get install --reinstall dict-gcide")
        data.write_bytes(gzip.compress(b""))
        (self.folder / "gcide.index").write_text("no tabs here\n")
        self.refused("cannot be read", "hint: sudo apt-get install --reinstall dict-gcide")


@unittest.skipUnless((DICTD / "gcide.index").exists(), "dict-gcide is not installed")
class InstalledPackagesTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-instructions-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for out, seed in (("one", "1"), ("two", "2")):
            result = make(cls.folder / out, PYTHONHASHSEED=seed)
            assert result.returncode == 0, result
        cls.rows = {split: read(cls.folder / "one", split) for split in SPLITS}
        cls.all_rows = cls.rows["train"] + cls.rows["eval"]

    def test_the_same_packages_give_the_same_files(self):
        names = sorted(path.name for path in (self.folder / "one").iterdir())
        self.assertEqual(names, ["instructions.eval.jsonl", "instructions.train.jsonl"])
        for name in names:
            self.assertEqual((self.folder / "one" / name).read_bytes(), (self.folder / "two" / name).read_bytes())

    def test_there_are_many_conversations_of_each_domain_and_none_twice(self):
        count = collections.Counter(row["domain"] for row in self.rows["train"])
        self.assertEqual(set(count), DOMAINS)
        self.assertGreater(min(count.values()), 300)
        self.assertGreater(len(self.rows["train"]), 50_000)
        self.assertEqual(len(set(map(json.dumps, self.all_rows))), len(self.all_rows))

    def test_each_line_is_a_conversation(self):
        for row in self.all_rows:
            self.assertEqual(list(row), ["messages", "domain"])
            roles = [message["role"] for message in row["messages"]]
            turns = roles[roles[0] == "system" :]
            self.assertEqual(turns, ["user", "assistant"] * (len(turns) // 2))
            self.assertEqual(len(turns) > 2, row["domain"] == "dialogue")
            contents = [message["content"] for message in row["messages"]]
            self.assertTrue(all(content == content.strip() != "" for content in contents), row)
            self.assertLessEqual(sum(len(content.encode()) for content in contents), 600)

    def test_a_word_or_function_is_held_out_from_all_or_none(self):
        subjects = {split: set(map(subject, self.rows[split])) for split in SPLITS}
        self.assertFalse(subjects["train"] & subjects["eval"])
        self.assertTrue(all(map(is_held_out, subjects["eval"])))
        self.assertFalse(any(map(is_held_out, subjects["train"])))
        self.assertLess(0.005, len(subjects["eval"]) / len(subjects["train"]))

    def test_no_markup_is_left_in_what_is_said_about_words(self):
        for row in self.all_rows:
            text = " ".join(message["content"] for message in row["messages"])
            if not FENCED.search(text):
                self.assertNotRegex(text, r"[\[\]{}<>\\|*_=^~\n]|--|  |1913|Webster\b|Obs\.")

    def test_definitions_are_whole_and_short(self):
        for row in self.all_rows:
            if row["domain"] == "define":
                answer = row["messages"][-1]["content"]
                self.assertRegex(answer, r"^[A-Z\u00c0-\u017f'].*[\w)']\.\)?$")
                self.assertLessEqual(len(answer), 200)


if __name__ == "__main__":
    unittest.main()
