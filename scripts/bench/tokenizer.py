"""Times dsmoe's tokenizer against Hugging Face tokenizers, on one thread, in one run, and compares the number of ids.

usage: tokenizer.py PEER TOKENIZER_JSON CORPUS_JSONL [--bytes N] [--repeat N]
PEER is the program of tests/data/tokenizer_peer.cpp. Both encode the same documents, the corpus's first up to N bytes
of text; the best of the repetitions counts. Hugging Face is timed as encode() for each document, as encode_batch() and
as encode_batch_fast(), which leaves out offsets.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import time

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

from tokenizers import Tokenizer  # noqa: E402  (reads the environment)


def documents(path, limit):
    texts, size = [], 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"]
            size += len(text.encode())
            if size > limit:
                break
            texts.append(text)
    return texts


def best(repeat, call):
    """Seconds of the quickest call, and what it returned."""
    results = []
    for _ in range(repeat):
        start = time.perf_counter()
        value = call()
        results.append((time.perf_counter() - start, value))
    return min(seconds for seconds, _ in results), results[0][1]


def peer_seconds(peer, path, request):
    run = subprocess.run([peer, path, "--time"], input=request, capture_output=True, check=True)
    seconds, count = run.stdout.split()
    return float(seconds), int(count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("tokenizer")
    parser.add_argument("corpus")
    parser.add_argument("--bytes", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    texts = documents(arguments.corpus, arguments.bytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    request = b"".join(struct.pack("=I", len(text.encode())) + text.encode() for text in texts)
    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    print(f"{arguments.corpus}: {len(texts)} documents, {megabytes:.2f} MB; vocabulary {tokenizer.get_vocab_size()}; "
          f"best of {arguments.repeat}")
    timed = {}
    plain = {"add_special_tokens": False}
    timed["encode"], encodings = best(arguments.repeat, lambda: [tokenizer.encode(text, **plain) for text in texts])
    timed["encode_batch"], _ = best(arguments.repeat, lambda: tokenizer.encode_batch(texts, **plain))
    timed["encode_batch_fast"], _ = best(arguments.repeat, lambda: tokenizer.encode_batch_fast(texts, **plain))
    count = sum(len(encoding.ids) for encoding in encodings)
    runs = [peer_seconds(arguments.peer, arguments.tokenizer, request) for _ in range(arguments.repeat)]
    if any(run[1] != count for run in runs):
        sys.exit(f"dsmoe gives {runs[0][1]} tokens, Hugging Face {count}")
    ours = min(seconds for seconds, _ in runs)
    for name, seconds in timed.items():
        print(f"  tokenizers {name:18} {seconds:7.3f} s {megabytes / seconds:7.2f} MB/s")
    print(f"  dsmoe      {'encode':18} {ours:7.3f} s {megabytes / ours:7.2f} MB/s, {count} tokens")
    print("  dsmoe is " + ", ".join(f"{seconds / ours:.2f} times as fast as {name}" for name, seconds in timed.items()))


if __name__ == "__main__":
    main()
