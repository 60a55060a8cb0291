"""Text to .bin/.idx and on to eval and train, which see the same documents as in the text."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time
import unittest

import numpy

from support import LIMIT, CliTest, documents, environment, exact, metrics, write_jsonl

BOS, EOS = 256, 257


def read_pair(prefix):
    """The documents of PREFIX.bin/.idx, by numpy, without a look at any check."""
    idx, tokens = [pathlib.Path(f"{prefix}.{ending}").read_bytes() for ending in ("idx", "bin")]
    magic, version, code, sequences, boundaries = struct.unpack_from("<9sQBQQ", idx)
    assert (magic, version) == (b"MMIDIDX\0\0", 1)
    lengths = numpy.frombuffer(idx, "<i4", sequences, 34)
    pointers = numpy.frombuffer(idx, "<i8", sequences, 34 + 4 * sequences)
    documents_ = numpy.frombuffer(idx, "<i8", boundaries, 34 + 12 * sequences)
    dtype = {4: "<i4", 8: "<u2"}[code]
    rows = [numpy.frombuffer(tokens, dtype, n, at).tolist() for n, at in zip(lengths, pointers)]
    return [sum(rows[a:b], []) for a, b in zip(documents_, documents_[1:])]


class TokenizeTest(CliTest):

    def tokenize(self, path, prefix=None, *more, **options):
        output = ["--output", prefix] if prefix else []
        return self.succeed("tokenize", "--tokenizer", "byte", "--input", path, *output, "--json", *more,
                            **options).json()

    def refuse(self, expected, *arguments, **options):
        result = self.dsmoe(*arguments, timeout=LIMIT, **options)
        self.assertEqual(result.code, 2, result)
        self.assertRegex(result.err, f"(?s)error: .*{expected}.*\nhint: ")
        return result

    def names(self, folder="."):
        return sorted(path.name for path in (self.folder / folder).iterdir())

    def test_documents_stand_between_bos_and_eos_and_the_json_counts_them(self):
        texts = documents(5, 40) + ["", "naïve ☕"]
        write_jsonl(self.folder / "in/a.jsonl", texts)
        done = self.tokenize("in/a.jsonl")
        encoded = [text.encode() for text in texts]
        self.assertEqual(read_pair(self.folder / "in/a"), [[BOS, *text, EOS] for text in encoded])
        self.assertGreater(done.pop("seconds"), 0)
        size = sum(map(len, encoded))
        self.assertEqual(done, {"documents": 42, "tokens": size + 84, "bytes": size, "dtype": "uint16",
                                "bin": "in/a.bin", "idx": "in/a.idx"})
        self.assertEqual(self.names("in"), ["a.bin", "a.idx", "a.jsonl"])

    def test_the_summary_names_documents_tokens_and_files(self):
        result = self.succeed("tokenize", "--tokenizer", "byte", "--input", "corpus", "--output", "out")
        self.assertRegex(result.out, r"19 documents, [\d,]+ tokens \(uint16\), [\d,]+ bytes of text, 0\.9\d "
                                     r"bytes per token, in [\d.]+s, [\d.]+ MB/s\nwrote out.bin and out.idx\n")
        self.assertEqual(len(read_pair(self.folder / "out")), 19)

    def test_workers_and_ranks_change_no_byte(self):
        write_jsonl(self.folder / "big.jsonl", documents(6, 30000))
        self.assertGreater((self.folder / "big.jsonl").stat().st_size, 3 << 20)
        one = self.tokenize("big.jsonl", "one", "--workers", 1)
        more = self.tokenize("big.jsonl", "more", "--workers", 5)
        ranks = self.tokenize("big.jsonl", "ranks", ranks=2)
        for ending in ("bin", "idx"):
            content = (self.folder / f"one.{ending}").read_bytes()
            self.assertEqual((self.folder / f"more.{ending}").read_bytes(), content)
            self.assertEqual((self.folder / f"ranks.{ending}").read_bytes(), content)
        self.assertEqual(one["tokens"], more["tokens"])
        self.assertEqual(one["tokens"], ranks["tokens"])

    def test_evaluation_and_training_give_the_same_numbers_from_tokens_as_from_text(self):
        for path in ("corpus/a.jsonl", "corpus/b.txt", "corpus/held.jsonl"):
            self.tokenize(path)
        pairs = ["data.train=[{path: corpus/a, weight: 2.0, name: a}, {path: corpus/b.idx, weight: 1.0, name: b}]",
                 "data.eval=[{path: corpus/held.bin, name: held}]"]
        text, tokens = self.train("text"), self.train("tokens", *pairs)
        self.assertEqual(exact(tokens), exact(text))
        self.assertEqual(len(metrics(tokens)), 6)
        model = text / "checkpoints/latest"
        step = text / "checkpoints" / model.read_text().strip()
        scores = [self.succeed("eval", "--model", step, "--data", path, "--json").json()
                  for path in ("corpus/held.jsonl", "corpus/held", "corpus/held.bin")]
        self.assertEqual(scores[1], scores[0])
        self.assertEqual(scores[2], scores[0])

    def test_a_resumed_run_knows_its_tokens_again(self):
        self.tokenize("corpus/a.jsonl", "a")
        source = "data.train=[{path: a, name: a}]"
        run = self.train("run", source, "schedule.steps=2")
        self.finish(run, source, "schedule.steps=4")
        self.assertEqual(len(metrics(run)), 4)
        self.tokenize("corpus/held.jsonl", "a", "--overwrite")
        self.refuse("data.train: the corpus is not the one", "train", self.folder / "run.yaml", source,
                    "run.name=run", "schedule.steps=6")

    def test_documents_are_taken_as_they_stand(self):
        run = self.train("run", "schedule.steps=2")
        step = run / "checkpoints/step-00000002"
        tokens = [[97, 98, 99], [100], [BOS, 101, EOS]]
        self.write_pair("odd", tokens)
        score = self.succeed("eval", "--model", step, "--data", "odd", "--json").json()
        self.assertEqual(score["tokens"], 2 + 0 + 2)

    def write_pair(self, name, docs):
        lengths = [len(doc) for doc in docs]
        starts = [2 * sum(lengths[:i]) for i in range(len(docs))]
        n = len(docs)
        idx = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, n, n + 1)
        idx += struct.pack(f"<{n}i{n}q{n + 1}q", *lengths, *starts, *range(n + 1))
        (self.folder / f"{name}.idx").write_bytes(idx)
        (self.folder / f"{name}.bin").write_bytes(struct.pack(f"<{sum(lengths)}H", *sum(docs, [])))

    def test_a_damaged_pair_is_named_with_the_byte(self):
        step = self.train("run", "schedule.steps=2") / "checkpoints/step-00000002"
        docs = [[BOS, 97, EOS], [BOS, 98, 99, EOS]]
        self.write_pair("x", docs)
        idx, tokens = [(self.folder / f"x.{ending}").read_bytes() for ending in ("idx", "bin")]

        def patched(offset, layout, value):
            return idx[:offset] + struct.pack(layout, value) + idx[offset + struct.calcsize(layout):]

        cases = {
            "header": (idx[:20], tokens, "x.idx: ends at byte 20"),
            "magic": (b"N" + idx[1:], tokens, "x.idx: .*MMIDIDX"),
            "version": (patched(9, "<Q", 3), tokens, "x.idx: version at byte 9 is 3"),
            "floats": (patched(17, "<B", 7), tokens, "x.idx: .*float32"),
            "sequences": (patched(18, "<Q", 0), tokens, "x.idx: .*at byte 18 is 0"),
            "boundaries": (patched(26, "<Q", 1 << 60), tokens, "x.idx: .*do not fit its 82 bytes"),
            "size": (idx[:-1], tokens, "x.idx: has 81 bytes"),
            "modes": (idx + b"\0\0", tokens, "x.idx: .*multimodal"),
            "length": (patched(38, "<i", -4), tokens, "x.idx: length of sequence 1 at byte 38 is -4"),
            "pointer": (patched(50, "<q", 8), tokens, "x.idx: sequence 1 begins at byte 8"),
            "boundary": (patched(66, "<q", 5), tokens, "x.idx: document boundary 2 at byte 74 is 2"),
            "short": (idx, tokens[:-2], "x.idx: sequence 1 ends at byte 14 of a .bin of 12"),
            "long": (idx, tokens + b"\0\0", "x.idx: .*end at byte 14 of a .bin of 16"),
            "id": (idx, tokens[:8] + b"\x03\x01" + tokens[10:],
                   r"x.bin: token 1 of document 1 \(byte 8\) is 259, outside the vocabulary of 259"),
        }
        for name, (damaged, content, expected) in cases.items():
            with self.subTest(name):
                (self.folder / "x.idx").write_bytes(damaged)
                (self.folder / "x.bin").write_bytes(content)
                self.refuse(expected, "eval", "--model", step, "--data", "x")
                if name != "id":
                    self.refuse(expected, "train", self.folder / "run.yaml", "data.train=[{path: x}]",
                                "run.name=new")
        (self.folder / "x.idx").unlink()
        self.refuse("x.idx: No such file", "eval", "--model", step, "--data", "x.bin")

    def test_a_token_outside_the_vocabulary_ends_training_on_all_ranks(self):
        docs = [[BOS, *range(60), EOS] for _ in range(8)]
        docs[3][20] = 300
        self.write_pair("x", docs)
        config = self.write_config()
        for ranks, overrides in ((0, []), (2, ["parallel.expert=2"])):
            with self.subTest(ranks=ranks):
                result = self.dsmoe("train", config, "data.train=[{path: x}]", f"run.name=r{ranks}", *overrides,
                                    ranks=ranks, timeout=60)
                self.assertEqual(result.code, 2, result)
                self.assertRegex(result.err, r"error: x.bin: token 20 of document 3 \(byte 412\) is 300.*\nhint: ")
                self.assertEqual(result.err.count("error: "), 1)

    def test_wrong_input_leaves_nothing(self):
        (self.folder / "broken.jsonl").write_text(json.dumps({"text": "a"}) + "\n{\n")
        (self.folder / "empty.txt").write_text("")
        before = self.names()
        verb = ["tokenize", "--tokenizer", "byte", "--input"]
        self.refuse("broken.jsonl:2: ", *verb, "broken.jsonl", "--output", "out")
        self.refuse("none: no such file", *verb, "none", "--output", "out")
        self.refuse("empty.txt: no text", *verb, "empty.txt", "--output", "out")
        self.refuse("no/such/out.bin", *verb, "corpus", "--output", "no/such/out")
        self.refuse("would lie in the input directory", *verb, "corpus", "--output", "corpus/out")
        self.refuse("none.json", "tokenize", "--tokenizer", "none.json", "--input", "corpus", "--output", "out")
        self.refuse("none: no such file", *verb, "none", ranks=2)
        self.assertEqual(self.names(), before)
        self.assertEqual(self.dsmoe("tokenize", "--tokenizer", "byte").code, 2)
        self.assertEqual(self.dsmoe(*verb, "corpus", "--workers", "0").code, 2)

    def test_existing_files_are_not_replaced_unless_asked(self):
        self.tokenize("corpus/a.jsonl", "out")
        before = (self.folder / "out.bin").read_bytes()
        self.refuse("out.idx exists already", "tokenize", "--tokenizer", "byte", "--input", "corpus/b.txt",
                    "--output", "out")
        self.assertEqual((self.folder / "out.bin").read_bytes(), before)
        self.tokenize("corpus/b.txt", "out", "--overwrite")
        self.assertNotEqual((self.folder / "out.bin").read_bytes(), before)
        self.refuse("tokens already", "tokenize", "--tokenizer", "byte", "--input", "out", "--output", "again")

    def test_a_signal_ends_the_work_and_removes_what_was_begun(self):
        text = documents(7, 400)
        os.makedirs(self.folder / "many")
        write_jsonl(self.folder / "many/0.jsonl", text * 100)
        for i in range(1, 60):
            shutil.copy(self.folder / "many/0.jsonl", self.folder / f"many/{i}.jsonl")
        before = self.names()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                command = self.command("tokenize", "--tokenizer", "byte", "--input", "many", "--output", "out")
                job = subprocess.Popen(command, cwd=self.folder, env=environment(), stderr=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, text=True)
                begun = self.folder / f"out.bin.tmp{job.pid}"
                while job.poll() is None and not (begun.exists() and begun.stat().st_size):
                    time.sleep(0.005)
                job.send_signal(number)
                _, err = job.communicate(timeout=60)
                self.assertEqual(job.returncode, 1, err)
                self.assertIn("error: stopped as asked; nothing was written", err)
                self.assertEqual(self.names(), before)


if __name__ == "__main__":
    unittest.main()
