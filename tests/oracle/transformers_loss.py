#!/usr/bin/env python3
"""The loss that transformers computes for a model directory on a JSONL file: one JSON object on stdout.

usage: transformers_loss.py MODEL_DIRECTORY FILE.jsonl [--window N] [--dtype float32|float64]

Every document is scored by itself as BOS + text + EOS; each token after BOS is predicted once. A document
longer than the window goes on in windows that overlap by one token. `loss` is in nats per predicted token,
`bits_per_byte` has the UTF-8 bytes of the texts below the line.
"""

import argparse
import json
import math
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"

import tokenizers
import torch
import transformers


def documents(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file if line.strip()]


def windows(ids, window):
    """(inputs, targets) of at most `window` predictions each."""
    for begin in range(0, len(ids) - 1, window):
        yield ids[begin : begin + window][: len(ids) - 1 - begin], ids[begin + 1 : begin + window + 1]


def nats(model, inputs, targets):
    logits = model(input_ids=torch.tensor([inputs])).logits[0].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="sum").item()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--window", type=int, default=0, help="predicted tokens a row; default: max_position_embeddings")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


@torch.no_grad()
def main():
    options = parse()
    torch.set_num_threads(options.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        options.model, dtype=getattr(torch, options.dtype), attn_implementation="eager")
    model.eval()
    config = model.config
    tokenizer = tokenizers.Tokenizer.from_file(str(options.model / "tokenizer.json"))
    total, tokens, size = 0.0, 0, 0
    for text in documents(options.file):
        ids = [config.bos_token_id, *tokenizer.encode(text, add_special_tokens=False).ids, config.eos_token_id]
        size += len(text.encode())
        for inputs, targets in windows(ids, options.window or config.max_position_embeddings):
            total += nats(model, inputs, targets)
            tokens += len(targets)
    print(json.dumps({"loss": total / tokens, "tokens": tokens, "bits_per_byte": total / math.log(2) / size}))


if __name__ == "__main__":
    main()
