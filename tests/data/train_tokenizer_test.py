"""scripts/train-tokenizer: its files, read by tokenizers, transformers and dsmoe.

usage: train_tokenizer_test.py PEER      (the program of tokenizer_peer.cpp)
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer
from transformers import AutoTokenizer

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "train-tokenizer"
TEXT = "The quick brown foxes jump over 12 lazy dogs, na\u00efvely; \u4f60\u597d  \u4e16\u754c!\n\n\tdef f(x): return 3.14\n"


def train(corpus, out, *options):
    return subprocess.run([sys.executable, str(SCRIPT), str(corpus), "--out", str(out), *options], text=True,
                          capture_output=True, check=False)


def check_files(folder, peer):
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    fast = AutoTokenizer.from_pretrained(folder)
    size = tokenizer.get_vocab_size()
    assert len(fast) == size == 300, (len(fast), size)
    assert [fast.bos_token_id, fast.eos_token_id, fast.pad_token_id] == [297, 298, 299]
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == TEXT
    assert fast(TEXT)["input_ids"] == [297, *ids], "BOS and the text"
    request = struct.pack("=I", len(TEXT.encode())) + TEXT.encode()
    answer = subprocess.run([peer, str(folder)], input=request, capture_output=True, check=True).stdout
    (count,) = struct.unpack_from("=I", answer)
    assert list(struct.unpack_from(f"={count}i", answer, 4)) == ids, "dsmoe encodes otherwise"
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("x=3.14; two  end  ")]
    assert pieces == ["x", "=", "3", ".", "1", "4", ";", "\u0120two", "\u0120", "\u0120end", "\u0120\u0120"], pieces
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]
    chat = fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert chat == f"{fast.bos_token}S\n\nUser: U\n\nAssistant: A{fast.eos_token}Assistant:", chat


def check_bad_input(folder):
    bad = folder / "bad.jsonl"
    for content in ("{\n", '{"txt": "a"}\n', '{"text": 1}\n', '{"text": "\\ud800"}\n', ""):
        bad.write_text(content)
        run = train(bad, folder / "none", "--vocab-size", "300")
        assert run.returncode == 2 and "\nhint: " in run.stderr, (content, run)
    for arguments in ((folder / "absent", "300"), (bad, "258"), (bad, "x")):
        run = train(arguments[0], folder / "none", "--vocab-size", arguments[1])
        assert run.returncode == 2 and run.stderr, run
    assert not (folder / "none").exists()


def main():
    peer = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        corpus = folder / "corpus.jsonl"
        corpus.write_text("".join(json.dumps({"text": TEXT * (1 + i % 3)}) + "\n" for i in range(50)))
        for out in ("one", "two"):
            run = train(corpus, folder / out, "--vocab-size", "300", "--sample-bytes", "5000")
            assert run.returncode == 0, run.stderr
        for file in ("tokenizer.json", "tokenizer_config.json"):
            assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes(), f"{file} differs"
        assert sorted(path.name for path in (folder / "one").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
        check_files(folder / "one", peer)
        check_bad_input(folder)
    print("same files, same ids")


if __name__ == "__main__":
    main()
