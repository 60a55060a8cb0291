"""Encodes and decodes fuzzed texts with Hugging Face tokenizers and with dsmoe, and compares every id.

usage: tokenizer_fuzz.py PEER [--count N] [--seed N] [--kind NAME]
PEER is the program of tokenizer_peer.cpp. N texts of each kind; the kind `odd`, whose tokenizers use what is rare,
gets a hundredth for each of its tokenizers. For one half of the texts the vocabulary is trained, on the source of
Python's standard library; for the other every two bytes merge, so that any difference in the cuts changes the ids.
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "lib"))
import deepseek_tokenizer as deepseek

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = ("\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
             r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BATCH = 20_000
SPECIALS = [deepseek.BOS, deepseek.EOS, deepseek.PAD]
ADDED = [
    AddedToken("<plain>", normalized=False), AddedToken("<plain>er", normalized=False),
    AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True, normalized=True), AddedToken("word", single_word=True),
    AddedToken("\u00e9t\u00e9", single_word=True, normalized=False), AddedToken("\u4f60\u597d", normalized=True),
    AddedToken("two  words", normalized=False), AddedToken("\n\n\n", normalized=True),
    AddedToken("  ", normalized=False, rstrip=True), AddedToken("<|sp\u00e9cial|>", special=True, normalized=False),
    AddedToken("w\u00f6rd", special=True, normalized=True, single_word=True, lstrip=True, rstrip=True),
]


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert=invert)


def sequence(*stages):
    return pre_tokenizers.Sequence([*stages, byte_level()])


# name: (pre-tokenizer, ignore_merges)
KINDS = {
    "deepseek": (json.dumps(deepseek.PRE_TOKENIZER), False),
    "gpt2": (byte_level(use_regex=True), False),
    "llama3": (sequence(split(LLAMA3)), True),
}
ODD = [
    byte_level(add_prefix_space=True, use_regex=True),
    byte_level(add_prefix_space=True),
    pre_tokenizers.Sequence([split(r"\d"), byte_level(add_prefix_space=True, use_regex=True)]),
    sequence(split(GPT4O)),
    sequence(*(split(pattern) for pattern in DEEPSEEK3)),
    sequence(split(r"\s+$"), split(r"^\w+"), pre_tokenizers.Digits(individual_digits=False)),
    sequence(split(r"\w*"), pre_tokenizers.Digits(individual_digits=True)),
    sequence(pre_tokenizers.Split(" ", "merged_with_next"), split(r"[aeiou]{2,}", "merged_with_previous")),
    sequence(split(r"\p{Lu}", "contiguous"), split(r"\p{Ll}+", "removed", invert=True)),
    sequence(split(r"[^\p{L}\s]+", "merged_with_next", invert=True), split(r"(?<=[a-z])(?=[A-Z])")),
    sequence(split(r"(?>a{1,9}|b){1,3}?c|.(?!\n)|(?i:kels)\W", "removed"), split(r"x?+|\x{4F60}", "contiguous")),
    sequence(split(r"\S{2,4}?|\A\s|\s\z|\D{,3}", "merged_with_previous", invert=True)),
]


def training_text():
    paths = sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:120]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths]


def pairs(pre_tokenizer, seed):
    """Every pair of bytes is a token, with a rank by chance."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(first, second) for first in alphabet for second in alphabet]
    random.Random(seed).shuffle(merges)
    tokens = alphabet + [first + second for first, second in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def train(pre_tokenizer, vocab_size, texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def from_json(text):
    """The pre-tokenizer of this JSON."""
    empty = json.loads(Tokenizer(models.BPE()).to_str())
    return Tokenizer.from_str(json.dumps({**empty, "pre_tokenizer": json.loads(text)})).pre_tokenizer


def make(tokenizer, ignore_merges=False):
    """The tokenizer with added tokens of all flags."""
    if ignore_merges:
        state = json.loads(tokenizer.to_str())
        # Words that no merge leads to, which only ignore_merges can give.
        for word in ("\u0120return", "\u00c4\u00ab\u00c3\u00a9", "zqzq", "\u0120\u0120\u0120\u0120\u0120\u0120\u0120"):
            state["model"]["vocab"].setdefault(word, len(state["model"]["vocab"]))
        state["model"]["ignore_merges"] = True
        tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    tokenizer.add_tokens([token for token in ADDED if not token.special])
    tokenizer.add_special_tokens([token for token in ADDED if token.special])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


class Fuzzer:
    """Byte strings that are nearly text."""

    BLANKS = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\ufeff"
    DIGITS = "0123456789\u00b2\u00bd\u0660\u0967\u2167\u3007\u4e00\U0001d7d9\U00011de3\U00016ff5\U00010d40"
    BLOCKS = ((0, 0x80), (0x80, 0x100), (0x100, 0x250), (0x250, 0x600), (0x600, 0x1200), (0x1200, 0x2000),
              (0x2000, 0x3400), (0x3000, 0x3100), (0x4e00, 0xa000), (0xa000, 0xd800), (0xe000, 0x10000),
              (0x10000, 0x20000), (0x1f000, 0x20000), (0x20000, 0x32000), (0xe0000, 0xe0200), (0xf0000, 0x110000))

    def __init__(self, seed, texts):
        self.random = random.Random(seed)
        self.sources = texts
        self.makers = [self.words] * 5 + [self.blanks, self.digits, self.block, self.block, self.anywhere, self.added,
                                          self.added, self.contraction, self.repeat, self.raw, self.broken, self.case]

    def point(self, low, high):
        while True:
            point = self.random.randrange(low, high)
            if not 0xD800 <= point < 0xE000:
                return chr(point)

    def some(self, characters, most):
        return "".join(self.random.choice(characters) for _ in range(self.random.randint(1, most)))

    def words(self):
        text = self.random.choice(self.sources)
        start = self.random.randrange(max(1, len(text) - 60))
        return text[start : start + self.random.randint(1, 40)].encode()

    def blanks(self):
        return self.some(self.random.choice((" ", " \n", self.BLANKS)), 8).encode()

    def digits(self):
        return self.some(self.random.choice(("0123456789", self.DIGITS)), 8).encode()

    def block(self):
        low, high = self.random.choice(self.BLOCKS)
        return "".join(self.point(low, high) for _ in range(self.random.randint(1, 12))).encode()

    def anywhere(self):
        return "".join(self.point(0, 0x110000) for _ in range(self.random.randint(1, 6))).encode()

    def added(self):
        name = self.random.choice(SPECIALS + [token.content for token in ADDED])
        if self.random.random() < 0.2:
            name = name[: self.random.randrange(1, len(name) + 1)]
        return name.encode()

    def contraction(self):
        return self.random.choice(("'s", "'S", "'\u017f", "'re", "'RE", "'ll", "'Ll", "'ve", "'t", "'D", "'M", "\u2019s",
                                   "kelS\u00e9", "\u212aelS ", "ke\u017f!", "zqzq", "return", "\u0120", "\u00e9")).encode()

    def case(self):
        return self.some("aAbBcC\u01c5\u02b0\u0301\u00aaxyz ", 10).encode()

    def repeat(self):
        length = 3000 if self.random.random() < 0.01 else 100
        return self.random.choice((b"a", b"ab", b" ", b"=", b"\n", b"x" * 7, b"0", b"\xe4\xbd\xa0", b"return", b"\xff")) \
            * self.random.randrange(length)

    def raw(self):
        return self.random.randbytes(self.random.randrange(8))

    def broken(self):
        text = bytearray(self.block() + self.words())
        for _ in range(self.random.randint(1, 3)):
            text[self.random.randrange(len(text))] = self.random.choice((0x80, 0xBF, 0xC0, 0xE0, 0xED, 0xF0, 0xF4, 0xFF))
        return bytes(text[: self.random.randint(1, len(text))])

    def text(self):
        return b"".join(self.random.choice(self.makers)() for _ in range(self.random.randint(0, 6)))


def ask(peer, tokenizer_path, texts):
    """What the peer answers: (ids, decoded bytes) for each text."""
    request = b"".join(struct.pack("=I", len(text)) + text for text in texts)
    run = subprocess.run([peer, tokenizer_path], input=request, capture_output=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{peer} {tokenizer_path} exits {run.returncode}: {run.stderr.decode()}")
    answer, position, results = run.stdout, 0, []
    while position < len(answer):
        (count,) = struct.unpack_from("=I", answer, position)
        ids = struct.unpack_from(f"={count}i", answer, position + 4)
        position += 4 + 4 * count
        (length,) = struct.unpack_from("=I", answer, position)
        results.append((list(ids), answer[position + 4 : position + 4 + length]))
        position += 4 + length
    return results


def compare(name, tokenizer, texts, results):
    """Ends the program at the first difference."""
    if len(results) != len(texts):
        sys.exit(f"{name}: {len(texts)} texts, {len(results)} answers")
    expected = tokenizer.encode_batch_fast([text.decode("utf-8", "replace") for text in texts], add_special_tokens=False)
    decoded = tokenizer.decode_batch([encoding.ids for encoding in expected], skip_special_tokens=True)
    for text, encoding, back, (ids, raw) in zip(texts, expected, decoded, results):
        if ids != encoding.ids:
            names = [[tokenizer.id_to_token(i) for i in some] for some in (encoding.ids, ids)]
            sys.exit(f"{name}: other ids for {text!r}\n  tokenizers {names[0]}\n  dsmoe      {names[1]}")
        if raw.decode("utf-8", "replace") != back:
            sys.exit(f"{name}: {text!r} decodes to {raw!r}, with tokenizers to {back!r}")


def fuzz(name, tokenizer, fuzzer, count, peer):
    """Compares `count` texts, and a few that are very long."""
    start, tokens = time.time(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tokenizer.json"
        tokenizer.save(path)
        # The fuzzed pieces, and words so long that merging them must not be quadratic.
        batches = [[b"a" * 100_000, b"return" * 20_000, b"\xff" * 5000, b""]]
        for first in range(0, count, BATCH):
            batches.append([fuzzer.text() for _ in range(min(BATCH, count - first))])
        for batch in batches:
            results = ask(peer, path, batch)
            compare(name, tokenizer, batch, results)
            tokens += sum(len(ids) for ids, _ in results)
    print(f"{name}: {count} texts, {tokens} tokens, all the same ({time.time() - start:.0f} s)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=[*KINDS, "odd"])
    arguments = parser.parse_args()
    texts = training_text()
    for i, (kind, (pre_tokenizer, ignore_merges)) in enumerate(KINDS.items()):
        if arguments.kind in (None, kind):
            fuzzer = Fuzzer(arguments.seed * 1000 + i, texts)
            cut = from_json(pre_tokenizer) if isinstance(pre_tokenizer, str) else pre_tokenizer
            half = arguments.count // 2
            trained = make(train(cut, 4000 + 1000 * i, texts[:40]), ignore_merges)
            fuzz(f"{kind}, trained", trained, fuzzer, half, arguments.peer)
            fuzz(f"{kind}, pairs", make(pairs(cut, i), ignore_merges), fuzzer, arguments.count - half, arguments.peer)
    if arguments.kind in (None, "odd"):
        for i, cut in enumerate(ODD):
            fuzzer = Fuzzer(arguments.seed * 1000 + 100 + i, texts)
            tokenizer = make(pairs(cut, i))
            fuzz(f"odd {i + 1} of {len(ODD)}", tokenizer, fuzzer, arguments.count // 100, arguments.peer)


if __name__ == "__main__":
    main()
