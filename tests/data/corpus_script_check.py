"""Asserts what scripts/corpus and scripts/compressors promise, on the corpus that needs no extra package."""

import gzip
import hashlib
import json
import lzma
import pathlib
import subprocess
import sys
import tempfile

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


def run(script, *arguments, **options):
    return subprocess.run([sys.executable, SCRIPTS / script, *arguments], capture_output=True, text=True, **options)


def make(folder):
    result = run("corpus", "--only", "code", "--out", folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def check_split(folder):
    seen = set()
    for name, held_out in (("code.train.jsonl", False), ("code.eval.jsonl", True)):
        for line in (folder / name).read_text(encoding="utf-8").split("\n")[:-1]:
            record = json.loads(line)
            assert list(record) == ["text", "domain"] and record["domain"] == "code"
            digest = hashlib.sha256(record["text"].encode()).hexdigest()
            assert (int(digest, 16) % 100 == 0) == held_out
            assert digest not in seen
            seen.add(digest)


def check_compressors(path):
    text = "".join(json.loads(line)["text"] for line in open(path, encoding="utf-8")).encode()
    found = json.loads(run("compressors", path, "--json").stdout)
    assert found["bytes"] == len(text)
    assert abs(found["gzip"] - 8 * len(gzip.compress(text, 9)) / len(text)) < 0.01
    assert abs(found["xz"] - 8 * len(lzma.compress(text, preset=9)) / len(text)) < 0.01


def check_missing_package(folder):
    result = run("corpus", "--only", "scripture", "--out", folder, env={"PATH": str(folder)})
    assert result.returncode == 2 and "bible-kjv" in result.stderr, result
    assert not list(folder.glob("scripture*"))


def main():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        one, two = pathlib.Path(one), pathlib.Path(two)
        assert "documents" in make(one)
        before = {path.name: path.read_bytes() for path in one.iterdir()}
        assert "already there" in make(one)
        make(two)
        assert before == {path.name: path.read_bytes() for path in two.iterdir()}
        check_split(one)
        check_compressors(one / "code.eval.jsonl")
        check_missing_package(two)
    print("as promised")


if __name__ == "__main__":
    main()
