"""eval beyond the plain loss: dumps, strides, domains, multiple choice; each against an independent count."""
import json
import shutil
import struct
import unittest

import numpy
from safetensors.numpy import load_file

from support import CliTest

STEP = "checkpoints/step-00000006"
BOS, EOS = 256, 257


def log_softmax(logits):
    shifted = logits.astype(numpy.float64) - logits.max(axis=1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))


def write_pair(prefix, documents):
    """Megatron's .bin and .idx, int32, a sequence a document."""
    lengths = numpy.array([len(ids) for ids in documents], dtype="<i4")
    pointers = (numpy.cumsum(lengths, dtype="<i8") - lengths) * 4
    boundaries = numpy.arange(len(documents) + 1, dtype="<i8")
    prefix.with_suffix(".bin").write_bytes(numpy.concatenate(documents).astype("<i4").tobytes())
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, len(documents), len(boundaries))
    prefix.with_suffix(".idx").write_bytes(head + lengths.tobytes() + pointers.tobytes() + boundaries.tobytes())


class EvalTest(CliTest):

    def setUp(self):
        super().setUp()
        self.model = self.train("tiny") / STEP

    def evaluate(self, *arguments, **options):
        return self.succeed("eval", "--model", self.model, "--json", *arguments, **options).json()

    def dump(self, *arguments):
        report = self.evaluate(*arguments, "--precision", "fp64", "--dump-logits", "logits.safetensors")
        dumped = load_file(self.folder / "logits.safetensors")
        scores = log_softmax(dumped["logits"])[numpy.arange(len(dumped["targets"])), dumped["targets"]]
        return report, dumped["targets"], scores

    def texts(self):
        lines = (self.folder / "corpus/held.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]

    def test_every_token_is_predicted_once_at_any_stride(self):
        wanted = numpy.concatenate([[*text.encode(), EOS] for text in self.texts()])
        losses = {}
        for stride in (32, 20, 1):
            report, targets, scores = self.dump("--data", "corpus/held.jsonl", "--window", "32", "--stride", stride)
            self.assertTrue(numpy.array_equal(targets, wanted))
            self.assertAlmostEqual(report["loss"], -scores.mean(), delta=1e-12)
            losses[stride] = report["loss"]
        self.assertEqual(losses[32], self.evaluate("--data", "corpus/held.jsonl", "--window", "32", "--precision",
                                                   "fp64")["loss"])
        self.assertEqual(len(set(losses.values())), 3)

    def test_a_stride_reads_what_came_before(self):
        """The last token of a document sees the whole window before it, not what the cut leaves."""
        text = self.texts()[0][:50]
        (self.folder / "one.txt").write_text(text)
        _, targets, scores = self.dump("--data", "one.txt", "--window", "32", "--stride", "1")
        self.assertEqual(targets[-1], EOS)
        write_pair(self.folder / "tail", [[BOS, *text.encode(), EOS][-33:]])
        _, _, alone = self.dump("--data", "tail", "--window", "32")
        self.assertAlmostEqual(scores[-1], alone[-1], delta=1e-12)

    def test_domains_are_told_apart(self):
        lines = [{"text": text, "domain": f"d{i % 2}"} for i, text in enumerate(self.texts())]
        for name, chosen in (("all", lines), ("d0", lines[0::2]), ("d1", lines[1::2])):
            (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in chosen))
        for ranks in (0, 2):
            whole = self.evaluate("--data", "all.jsonl", ranks=ranks)
            self.assertEqual(sorted(whole["domains"]), ["d0", "d1"])
            for name in ("d0", "d1"):
                alone = self.evaluate("--data", f"{name}.jsonl")
                self.assertNotIn("domains", alone)
                for key in ("loss", "bits_per_byte", "tokens"):
                    self.assertAlmostEqual(whole["domains"][name][key], alone[key], delta=1e-5)

    def test_losses_by_position(self):
        report, _, scores = self.dump("--data", "corpus/held.jsonl", "--window", "32", "--by-position", "12")
        texts = [len(text.encode()) + 1 for text in self.texts()]  # and EOS
        positions = numpy.concatenate([numpy.arange(length) % 32 for length in texts])
        self.assertEqual([(one["from"], one["to"]) for one in report["positions"]], [(0, 12), (12, 24), (24, 32)])
        for one in report["positions"]:
            inside = (positions >= one["from"]) & (positions < one["to"])
            self.assertEqual(one["tokens"], inside.sum())
            self.assertAlmostEqual(one["loss"], -scores[inside].mean(), delta=1e-12)
        on_two = self.evaluate("--data", "corpus/held.jsonl", "--window", "32", "--by-position", "12", ranks=2)
        for one, other in zip(report["positions"], on_two["positions"], strict=True):
            self.assertEqual(one["tokens"], other["tokens"])
            self.assertAlmostEqual(one["loss"], other["loss"], delta=1e-5)
        shown = self.succeed("eval", "--model", self.model, "--data", "corpus/held.jsonl", "--window", "32",
                             "--by-position", "12")
        self.assertIn("positions 24 to 31 | loss", shown.out + shown.err)

    def test_stretches_without_a_target_are_left_out(self):
        write_pair(self.folder / "short", [[BOS, *b"abc"]])
        report = self.evaluate("--data", "short", "--window", "32", "--by-position", "8")
        self.assertEqual([(one["from"], one["to"], one["tokens"]) for one in report["positions"]], [(0, 8, 3)])

    def test_beyond_the_positions_where_asked(self):
        shutil.copytree(self.model / "model", self.folder / "narrow")
        self.model = self.folder / "narrow"
        config = self.model / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 32}))
        refused = self.dsmoe("eval", "--model", self.model, "--data", "corpus/held.jsonl", "--window", "40")
        self.assertEqual(refused.code, 2, refused)
        self.assertIn("hint: give a shorter window, or --extrapolate", refused.err)
        ignored = self.dsmoe("eval", "--model", self.model, "--data", "corpus/held.jsonl", "--extrapolate")
        self.assertEqual(ignored.code, 2, ignored)
        self.assertIn("hint: give --window", ignored.err)
        report = self.evaluate("--data", "corpus/held.jsonl", "--window", "40", "--extrapolate", "--by-position", "40")
        self.assertAlmostEqual(report["positions"][0]["loss"], report["loss"], delta=1e-12)

    def choices(self):
        questions = [{"question": "The river was", "choices": ["old", "between quiet", "a"], "answer": 0},
                     {"question": "Stone", "choices": ["letter music", "of"], "answer": "B"},
                     {"question": "A", "choices": ["x", "yy", "zzz", "wwww"], "answer": 3}]
        (self.folder / "choices.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
        return questions

    def likelihoods(self, question):
        found = []
        for choice in question["choices"]:
            ids = [BOS, *f"{question['question']} {choice}".encode()]
            write_pair(self.folder / "choice", [ids])
            _, _, scores = self.dump("--data", "choice")
            found.append(scores[-(len(choice) + 1):].sum())
        return numpy.array(found)

    def test_choices_are_scored_by_their_likelihood(self):
        questions = self.choices()
        report = self.evaluate("--choices", "choices.jsonl", "--precision", "fp64")
        plain, normal = 0, []
        for question in questions:
            likelihoods = self.likelihoods(question)
            answer = "AB".index(question["answer"]) if isinstance(question["answer"], str) else question["answer"]
            plain += likelihoods.argmax() == answer
            normal.append(int((likelihoods / [len(choice) for choice in question["choices"]]).argmax()))
        self.assertEqual(report["answers"], normal)
        self.assertEqual(report["questions"], 3)
        self.assertAlmostEqual(report["accuracy"], plain / 3)
        right = sum(a == b for a, b in zip(normal, [0, 1, 3]))
        self.assertAlmostEqual(report["accuracy_normalized"], right / 3)
        for ranks in (2, 4):
            self.assertEqual(self.evaluate("--choices", "choices.jsonl", "--precision", "fp64", ranks=ranks), report)

    def refuse(self, pattern, *arguments, **options):
        result = self.dsmoe("eval", "--model", self.model, *arguments, **options)
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, pattern)
        self.assertIn("hint:", result.err)

    def test_what_is_refused(self):
        self.refuse("nothing to score")
        self.refuse("choices scores whole questions", "--choices", "choices.jsonl", "--stride", "3")
        self.refuse("none.jsonl", "--choices", "none.jsonl")
        self.refuse(r"--stride \(40\) is longer than the window of 32", "--data", "corpus/b.txt", "--window", "32",
                    "--stride", "40")
        self.refuse(r"--window \(200\) is longer than the model's 128", "--data", "corpus/b.txt", "--window", "200")
        self.refuse("run on one rank", "--data", "corpus/b.txt", "--dump-logits", "x", ranks=2)
        for line in ('{"question": "a"}', '{"question": "a", "choices": ["b"], "answer": 1}', "no json",
                     '{"question": "a", "choices": ["b", ""], "answer": 0}'):
            (self.folder / "wrong.jsonl").write_text(line + "\n")
            self.refuse("wrong.jsonl:1", "--choices", "wrong.jsonl")
        question = {"question": "long " * 60, "choices": ["b"], "answer": 0}
        (self.folder / "long.jsonl").write_text(json.dumps(question) + "\n")
        self.refuse("longer than the model's 128 positions", "--choices", "long.jsonl")


if __name__ == "__main__":
    unittest.main()
