"""Asserts that the tokenizer in the folder given is the byte tokenizer, for tokenizers and transformers."""

import random
import sys

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

BOS, EOS, PAD = 256, 257, 258


def texts():
    generator = random.Random(1)
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    yield from ["", " ", "  two  spaces\n\n\ttab ", "it's 1,234.5 o'clock\r\n", "\0\x7f\x80\u00ad\u0120",
                "e\u0301 \u00e9 \ufb01 \u1e9b\u0323 \u212b", "".join(map(chr, range(0x500))), "x" * 5000]
    for _ in range(200):
        yield "".join(chr(generator.choice(points)) for _ in range(generator.randrange(40)))


def check(name, encode, decode):
    for text in texts():
        ids = [BOS, *text.encode()]
        assert encode(text) == ids, (name, text, encode(text))
        assert decode([*ids, EOS, PAD]) == text, (name, text)


def main():
    folder = sys.argv[1]
    plain = Tokenizer.from_file(f"{folder}/tokenizer.json")
    assert plain.get_vocab_size() == 259
    assert len(plain.pre_tokenizer.pre_tokenize_str("it's not cut, 12 words")) == 1
    check("tokenizers", lambda text: plain.encode(text).ids, plain.decode)
    for tokenizer in (PreTrainedTokenizerFast.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)):
        assert len(tokenizer) == 259
        assert [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id] == [BOS, EOS, PAD]
        check(type(tokenizer).__name__, lambda text: tokenizer(text)["input_ids"],
              lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    print("same ids")


if __name__ == "__main__":
    main()
