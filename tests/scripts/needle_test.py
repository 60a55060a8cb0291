"""scripts/needle: what stands in its documents and its grid, and the numbers of its tables and pictures."""

import collections
import hashlib
import itertools
import json
import math
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
from debian_packages import DICTD
from dictd_package import write_dictionary

NEEDLE = re.compile(r"The key of ([a-z]{4,7}) is (\d{5})\.")
LENGTHS, DEPTHS = (256, 512, 1024, 2048, 4096), (0, 25, 50, 75, 100)
CELLS = [(length, depth) for length in LENGTHS for depth in DEPTHS]
FILES = ["needle.copies.train.jsonl", "needle.grid.jsonl", "needle.long.eval.jsonl", "needle.long.train.jsonl",
         "needle.short.eval.jsonl", "needle.short.train.jsonl"]
SMALL = ("--copies-megabytes", "0.1", "--short-megabytes", "0.2", "--long-megabytes", "0.6", "--rows", "5")
SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments, **variables):
    return subprocess.run([sys.executable, ROOT / "scripts/needle", *map(str, arguments)], text=True,
                          capture_output=True, env=os.environ | variables, check=False)


def made_up_words(consonants, number, last, count, dice):
    """Words of so many syllables, and as many endings as there are in `last`."""
    syllables = ["".join(pair) for pair in itertools.product(consonants, "aeiou")]
    return ["".join(word) for word in dice.sample(list(itertools.product(*[syllables] * number, last)), count)]


def made_up_entries():
    """Names that one entry uses often, and definitions of other words, none of which has a name in it."""
    dice = random.Random(1)
    names = made_up_words("bdfgklm", 3, [""], 900, dice)
    others = made_up_words("prstvnz", 2, ["", "s", "st", "nst"], 2000, dice)
    yield f"Zaza \\Zaza\\, n.\n   {' '.join(names * 50)}.\n"
    for word in names + others:
        definition = " ".join(dice.choices(others, k=dice.randint(1, 9))).capitalize()
        yield f"{word.capitalize()} \\{word}\\, n.\n   {definition}.\n   [1913 Webster]\n"


def is_held_out(word):
    return int(hashlib.sha256(word.lower().encode()).hexdigest(), 16) % 10 == 0


def read(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def text_of(row):
    return row["text"] if "text" in row else "".join(part["text"] for part in row["segments"])


def names_and_lines(rows):
    """Names of needles, and lines that are none."""
    lines = {line for row in rows for line in text_of(row).split("\n") if not line.startswith("The key of ")}
    return {name for row in rows for name, _ in NEEDLE.findall(text_of(row))}, lines


class CorpusChecks:
    """What holds for any dictionary. `folder` holds the files, `megabytes` tells what was asked for."""

    @classmethod
    def make(cls, *options):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-needle-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        result = run("corpus", "--out", cls.folder / "out", *options)
        assert result.returncode == 0, result
        cls.rows = {name: read(cls.folder / "out" / name) for name in FILES}
        cls.grid = cls.rows["needle.grid.jsonl"]

    def test_files_have_the_sizes_that_were_asked_for(self):
        for kind, limit, margin in (("short", 512, 32), ("long", 4096, 64)):
            sizes = {split: [len(row["text"].encode()) for row in self.rows[f"needle.{kind}.{split}.jsonl"]]
                     for split in ("train", "eval")}
            for split, share in (("train", 1), ("eval", 0.02)):
                self.assertLessEqual(max(sizes[split]), limit - margin)
                self.assertGreater(max(sizes[split]), limit - 3 * margin)
                expected = 1e6 * self.megabytes[kind] * share
                self.assertTrue(expected <= sum(sizes[split]) < expected + limit, sum(sizes[split]))
            self.assertGreater(sum(size > 0.75 * limit for size in sizes["train"]) / len(sizes["train"]), 0.6)

    def test_needles_come_again_with_the_same_number(self):
        for kind in ("short", "long"):
            again = 0
            for row in self.rows[f"needle.{kind}.train.jsonl"]:
                needles = [NEEDLE.fullmatch(line) for line in row["text"].split("\n") if line.startswith("The key of ")]
                numbers = dict(needle.groups() for needle in needles)
                self.assertTrue(all(numbers[needle[1]] == needle[2] for needle in needles))
                self.assertEqual(len(set(numbers.values())), len(numbers))
                self.assertEqual(len(re.findall(r"\d", row["text"])), 5 * len(needles))
                self.assertEqual(row["domain"], f"needle-{kind}")
                again += len(needles) - len(numbers)
            self.assertGreater(again, 2 * len(self.rows[f"needle.{kind}.train.jsonl"]))

    def test_what_repeats_can_be_told_from_its_first_time(self):
        for row in self.rows["needle.copies.train.jsonl"]:
            line = row["text"].split("\n")[0] + "\n"
            self.assertRegex(line, r"^[a-z]{8,48}\n$")
            self.assertEqual(row["text"], (line * 20)[:125])

    def test_needles_lie_everywhere_in_long_documents(self):
        tenths = collections.Counter()
        for row in self.rows["needle.long.train.jsonl"]:
            tenths.update(int(10 * each.start() / len(row["text"])) for each in NEEDLE.finditer(row["text"]))
        for tenth in range(10):
            self.assertTrue(0.07 < tenths[tenth] / sum(tenths.values()) < 0.13, tenths)

    def test_documents_for_perplexity_have_no_needles_and_none_stands_twice(self):
        for kind in ("short", "long"):
            for row in self.rows[f"needle.{kind}.eval.jsonl"]:
                self.assertNotRegex(row["text"], r"\d|The key of")
        for name in set(FILES) - {"needle.grid.jsonl"}:
            texts = [row["text"] for row in self.rows[name]]
            self.assertEqual(len(set(texts)), len(texts))
            self.assertTrue(all(texts))

    def test_words_and_lines_that_are_held_out_are_not_trained_on(self):
        train = names_and_lines(self.rows["needle.short.train.jsonl"] + self.rows["needle.long.train.jsonl"])
        plain = names_and_lines(self.rows["needle.short.eval.jsonl"] + self.rows["needle.long.eval.jsonl"])
        grid = names_and_lines(self.grid)
        self.assertGreater(len(grid[0]), 20)
        for names, lines in (plain, grid):
            self.assertFalse(names & train[0] or lines & train[1])
            self.assertTrue(all(is_held_out(word) for word in names | {line.split(":")[0] for line in lines}))
        self.assertFalse(any(is_held_out(word) for word in train[0] | {line.split(":")[0] for line in train[1]}))

    def test_a_row_of_the_grid_has_the_bytes_of_its_cell_and_one_answer(self):
        for row in self.grid:
            asked, answer = row["segments"]
            self.assertEqual((asked["weight"], answer["weight"]), (0, 1))
            length = int(re.match(r"length-(\d+) ", row["domain"])[1])
            self.assertEqual(len(text_of(row).encode()), length)
            name = re.search(r"\nThe key of ([a-z]+) is $", asked["text"])[1]
            self.assertEqual(asked["text"].lower().count(name), 2)
            self.assertEqual(re.findall(rf"^The key of {name} is (\d+)\.$", asked["text"], re.M), [answer["text"]])
            self.assertEqual(asked["text"].count(answer["text"]), 1)
            self.assertEqual(len(NEEDLE.findall(asked["text"])), 4)

    def test_the_needle_of_a_row_lies_at_its_depth(self):
        for row in self.grid:
            depth, (asked, answer) = int(row["domain"].split("depth-")[1]), row["segments"]
            haystack = asked["text"][: asked["text"].rindex("The key of ")]
            line = re.search(rf"^.*{answer['text']}\.\n", haystack, re.M)
            found = 100 * line.start() / (len(haystack) - len(line[0]))
            self.assertLessEqual(abs(found - depth), 3 if depth % 100 else 0, row)

    def test_cells_of_a_length_differ_in_the_depth_alone(self):
        cells = collections.defaultdict(list)
        for row in self.grid:
            cells[row["domain"]].append(sorted(text_of(row).split("\n")))
        self.assertEqual(list(cells), [f"length-{length} depth-{depth}" for length, depth in CELLS])
        for length, depth in CELLS:
            rows = cells[f"length-{length} depth-{depth}"]
            self.assertEqual(rows, cells[f"length-{length} depth-0"])
            self.assertEqual(len({tuple(row) for row in rows}), self.count)


class MadeUpCorpusTest(CorpusChecks, unittest.TestCase):
    megabytes, count = {"short": 0.2, "long": 0.6}, 5

    @classmethod
    def setUpClass(cls):
        cls.dictionary = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-needle-"))
        cls.addClassCleanup(shutil.rmtree, cls.dictionary, ignore_errors=True)
        write_dictionary(cls.dictionary, made_up_entries())
        cls.options = (*SMALL, "--dictionary", cls.dictionary)
        cls.make(*cls.options)

    def setUp(self):
        self.other = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-needle-"))
        self.addCleanup(shutil.rmtree, self.other, ignore_errors=True)

    def refused(self, *arguments, words=()):
        result = run("corpus", "--out", self.other / "out", *arguments)
        self.assertEqual(result.returncode, 2, result)
        for word in (*words, "\nhint: "):
            self.assertIn(word, result.stderr)
        self.assertEqual(list(self.other.glob("out/*grid*")), [])

    def test_the_same_package_gives_the_same_files(self):
        result = run("corpus", "--out", self.other, *self.options, PYTHONHASHSEED="7")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(sorted(path.name for path in self.other.iterdir()), FILES)
        for name in FILES:
            self.assertEqual((self.other / name).read_bytes(), (self.folder / "out" / name).read_bytes())
            self.assertIn(f"{name}: {len(self.rows[name]):,} rows", result.stdout)

    def test_files_that_are_there_are_kept_and_those_that_are_not_are_made(self):
        for name in FILES[1:]:
            (self.other / name).write_text(name)
        result = run("corpus", "--out", self.other, *self.options)
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual((self.other / FILES[0]).read_bytes(), (self.folder / "out" / FILES[0]).read_bytes())
        for name in FILES[1:]:
            self.assertEqual((self.other / name).read_text(), name)
            self.assertIn(f"{name}: already there", result.stdout)
        self.assertEqual(run("corpus", "--out", self.other, "--dictionary", self.other / "none").returncode, 0)

    def test_lengths_depths_and_rows_are_as_asked_for(self):
        result = run("corpus", "--out", self.other, *self.options, "--short", 300, "--long", 1000, "--rows", 2,
                     "--lengths", 1500, 700, "--depths", 90, 10)
        self.assertEqual(result.returncode, 0, result)
        rows = read(self.other / "needle.grid.jsonl")
        self.assertEqual(collections.Counter(row["domain"] for row in rows),
                         {f"length-{length} depth-{depth}": 2 for length in (700, 1500) for depth in (10, 90)})
        for kind, limit in (("short", 268), ("long", 936)):
            longest = max(len(row["text"]) for row in read(self.other / f"needle.{kind}.train.jsonl"))
            self.assertTrue(limit - 40 < longest <= limit, longest)

    def test_a_missing_or_damaged_package_is_named(self):
        self.refused("--dictionary", self.other, words=["not installed", "sudo apt-get install dict-gcide"])
        shutil.copytree(self.dictionary, self.other / "damaged")
        (self.other / "damaged/gcide.dict.dz").write_bytes(b"no gzip")
        self.refused("--dictionary", self.other / "damaged", words=["cannot be read", "--reinstall dict-gcide"])

    def test_a_dictionary_with_too_few_words_is_refused(self):
        write_dictionary(self.other, itertools.islice(made_up_entries(), 300))
        self.refused("--dictionary", self.other, words=["common nouns are held out, 50 are needed"])
        entries = list(made_up_entries())
        write_dictionary(self.other, entries[:1] + [entry.split("\n")[0] + "\n" for entry in entries[1:]])
        self.refused("--dictionary", self.other, words=["0 short definitions are held out, 50 are needed"])

    def test_options_out_of_range_are_refused(self):
        for options, words in ((("--depths", 50, 101), "--depths (101) is not between 0 and 100"),
                               (("--lengths", 100), "--lengths (100) is not between 192"),
                               (("--short", 5000), "--short (5000) is not between 192 and 4096"),
                               (("--rows", 0), "--rows (0)"), (("--long-megabytes", "nan"), "--long-megabytes (nan)")):
            self.refused(*self.options, *options, words=[words])

    def test_depths_that_no_short_haystack_has_are_refused(self):
        self.refused(*self.options, "--lengths", 192, "--depths", *range(0, 101, 5),
                     words=["no haystack of 192 bytes", "depths of 0, 5, 10", "hint: leave the shortest --lengths out"])


@unittest.skipUnless((DICTD / "gcide.index").exists(), "dict-gcide is not installed")
class InstalledPackageTest(CorpusChecks, unittest.TestCase):
    megabytes, count = {"short": 10, "long": 20}, 20

    @classmethod
    def setUpClass(cls):
        cls.make()

    def test_many_words_are_asked_for(self):
        names, lines = names_and_lines(self.rows["needle.short.train.jsonl"])
        self.assertGreater(len(names), 2000)
        self.assertGreater(len(lines), 50_000)


def loss(length, depth):
    return 0.1 + length / 2000 + depth / 317


def scores(change=0.0, cells=CELLS):
    return {"loss": 1.0, "tokens": 100 * len(cells),
            "domains": {f"length-{length} depth-{depth}": {"loss": loss(length, depth) + change, "tokens": 100}
                        for length, depth in cells}}


def positions(count, change=0.0):
    return {"loss": 1.0, "positions": [{"from": 64 * i, "to": 64 * (i + 1), "loss": 1.5 + change + i / 20,
                                        "tokens": 640 - i} for i in range(count)]}


class ReportTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-needle-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def report(self, before, after, *positions_of):
        """Runs it on these values, or on text as it stands."""
        values = {"before": before, "after": after}
        values.update(zip(("positions_before", "positions_after"), positions_of))
        for name, value in values.items():
            content = value if isinstance(value, str) else json.dumps(value)
            (self.folder / f"{name}.json").write_text(content)
        paths = [self.folder / f"{name}.json" for name in values]
        options = ["--positions", *paths[2:]] if positions_of else []
        return run("report", *paths[:2], "--out", self.folder / "out", *options)

    def written(self, *values):
        result = self.report(*values)
        self.assertEqual(result.returncode, 0, result)
        return {path.name: path.read_text() for path in (self.folder / "out").iterdir()}

    def refused(self, *values, words):
        result = self.report(*values)
        self.assertEqual(result.returncode, 2, result)
        for word in (*words, "\nhint: "):
            self.assertIn(word, result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def tables(self, markdown):
        """Cells of each table, without its header."""
        blocks = re.findall(r"(?:^\|.*\|\n)+", markdown, re.M)
        return [[line.strip("| ").split(" | ") for line in block.splitlines()[2:]] for block in blocks]

    def picture(self, text):
        """The root of a picture that refers to nothing outside itself."""
        self.assertNotRegex(text.replace('xmlns="http://www.w3.org/2000/svg"', ""), r"https?:|href|@import|<image|<script")
        return xml.etree.ElementTree.fromstring(text)

    def test_tables_tell_the_probabilities_of_the_input(self):
        found = self.written(scores(), scores(0.5))
        self.assertEqual(sorted(found), ["needle.md", "needle.svg"])
        self.assertIn("0.10", found["needle.md"])
        tables = self.tables(found["needle.md"])
        self.assertEqual(len(tables), 2)
        for table, change in zip(tables, (0.0, 0.5)):
            self.assertEqual([row[0] for row in table], [f"{length:,}" for length in LENGTHS])
            for length, row in zip(LENGTHS, table):
                expected = [math.exp(-loss(length, depth) - change) for depth in DEPTHS]
                self.assertEqual(row[1:], [f"{value:.3f}" for value in [*expected, sum(expected) / 5]])

    def test_the_picture_shows_each_number_in_its_cell(self):
        root = self.picture(self.written(scores(), scores(0.5))["needle.svg"])
        width, height = float(root.get("width")), float(root.get("height"))
        numbers = [each for each in root.iter(f"{SVG}text") if " on-" in each.get("class")]
        cells = [each for each in root.iter(f"{SVG}rect") if each.get("fill-opacity")]
        expected = [math.exp(-loss(*cell) - change) for change in (0.0, 0.5) for cell in CELLS]
        self.assertEqual([each.text for each in numbers], [f"{value:.2f}" for value in expected])
        for number, cell, value in zip(numbers, cells, expected, strict=True):
            self.assertAlmostEqual(float(cell.get("fill-opacity")), value, delta=0.006)
            for axis, size in (("x", "width"), ("y", "height")):
                begin, end = float(cell.get(axis)), float(cell.get(axis)) + float(cell.get(size))
                self.assertTrue(begin < float(number.get(axis)) < end)
            self.assertTrue(0 <= float(cell.get("x")) < width and 0 <= float(cell.get("y")) < height)

    def test_the_picture_names_axes_scale_and_chance_in_light_and_dark(self):
        text = self.written(scores(), scores())["needle.svg"]
        told = [each.text for each in self.picture(text).iter(f"{SVG}text")]
        for label in ("Before", "After", "length, bytes", "depth of the needle", "0.10 chance", "1.00",
                      *(f"{length:,}" for length in LENGTHS), *(f"{depth} %" for depth in DEPTHS)):
            self.assertIn(label, told)
        self.assertIn("prefers-color-scheme: dark", text)

    def test_a_grid_may_have_one_cell(self):
        found = self.written(scores(cells=[(300, 50)]), scores(cells=[(300, 50)]))
        self.assertEqual(len(self.tables(found["needle.md"])[0]), 1)
        self.picture(found["needle.svg"])

    def test_perplexities_by_position_are_those_of_the_input(self):
        found = self.written(scores(), scores(), positions(8, 1.0), positions(64))
        self.assertEqual(sorted(found), ["needle-positions.svg", "needle.md", "needle.svg"])
        table = self.tables(found["needle.md"])[2]
        self.assertEqual([row[0] for row in table], [
            "0 to 63", "64 to 127", "128 to 255", "256 to 511", "512 to 1,023", "1,024 to 2,047", "2,048 to 4,095"])
        for row, (first, end) in zip(table, [(0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 64)]):
            tokens = [640 - i for i in range(first, end)]
            mean = sum((1.5 + i / 20) * (640 - i) for i in range(first, end)) / sum(tokens)
            before = f"{math.exp(mean + 1):.2f}" if end <= 8 else "-"
            self.assertEqual(row[1:], [before, f"{math.exp(mean):.2f}"])

    def test_curves_have_a_point_a_stretch_on_logarithmic_axes(self):
        root = self.picture(self.written(scores(), scores(), positions(8), positions(64))["needle-positions.svg"])
        before, after = (each.get("points").split() for each in root.iter(f"{SVG}polyline"))
        self.assertEqual((len(before), len(after)), (8, 64))
        self.assertEqual(before, after[:8])
        x, y = zip(*(map(float, point.split(",")) for point in after))
        # Centres 32, 96 and 288 are as far apart as each other; losses 1.5, 1.55, ... fall on equal steps.
        self.assertAlmostEqual(x[1] - x[0], x[4] - x[1], delta=0.3)
        self.assertAlmostEqual(y[1] - y[0], (y[63] - y[0]) / 63, delta=0.2)
        self.assertTrue(all(0 < left < float(root.get("width")) for left in x))
        self.assertTrue(all(0 < top < float(root.get("height")) for top in y))

    def test_huge_and_equal_losses_can_be_drawn(self):
        flat = {"positions": [{"from": 0, "to": 1, "loss": 0.0, "tokens": 5}]}
        steep = {"positions": [{"from": 0, "to": 64, "loss": 2000.0, "tokens": 5},
                               {"from": 64, "to": 128, "loss": None, "tokens": 0}]}
        for one in (flat, steep):
            for other in (flat, steep):
                self.picture(self.written(scores(), scores(), one, other)["needle-positions.svg"])

    def test_grids_that_are_not_whole_or_not_equal_are_refused(self):
        self.refused(scores(cells=CELLS[1:]), scores(), words=["before.json: no domain `length-256 depth-0`"])
        self.refused(scores(), scores(cells=[cell for cell in CELLS if cell[0] < 4096]),
                     words=["length-4096 depth-0: 100 digits in", "0 in", "hint: score the same needle.grid.jsonl"])
        other = scores()
        other["domains"]["length-512 depth-50"]["tokens"] = 95
        self.refused(scores(), other, words=["length-512 depth-50: 100 digits in", "95 in"])

    def test_what_is_no_score_of_a_grid_is_refused(self):
        self.refused("loss 1.2", scores(), words=["before.json: not JSON"])
        self.refused(scores(), [], words=["after.json: no JSON object"])
        self.refused(scores(), {"loss": 1.0, "tokens": 5}, words=["after.json: no `domains`", "needle.grid.jsonl --json"])
        self.refused({"domains": {"webster": {"loss": 1.0}}}, scores(), words=["domain `webster` is no cell"])
        for wrong in (None, "1", -1, True, math.nan):
            other = scores()
            other["domains"]["length-512 depth-50"]["loss"] = wrong
            self.refused(other, scores(), words=["length-512 depth-50: loss is"])
        (self.folder / "before.json").unlink()
        result = run("report", self.folder / "before.json", self.folder / "after.json", "--out", self.folder / "out")
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("hint: ", result.stderr)

    def test_what_is_no_loss_by_position_is_refused(self):
        good, wrong = positions(4), positions(4)
        wrong["positions"][2]["from"] = 100
        for bad, words in ((scores(), "no `positions`"), ({"positions": []}, "no positions with tokens"),
                           (wrong, "positions[2]: from is 100, not a number of at least 128"),
                           ({"positions": [{"from": 0, "to": 4, "tokens": 5}]}, "positions[0]: loss is null"),
                           ({"positions": [5]}, "positions[0]: tokens is null")):
            self.refused(scores(), scores(), good, bad, words=["positions_after.json", words])


if __name__ == "__main__":
    unittest.main()
