"""Mutated safetensors files, by our reader and by the reference: one verdict, or a reason for two.

safetensors_fuzz.py PEER [--images N] [--seed S]   asks PEER (safetensors_fuzz_peer.cpp) and Python's safetensors

Where both accept, names, dtypes, shapes and the bytes of each tensor agree too. A file that we accept and the
reference does not is never excused; one that only the reference accepts needs a reason of REASONS, which looks both
at the file and at our message.
"""
import argparse
import collections
import json
import random
import re
import struct
import subprocess
import sys

import safetensors

from safetensors_mutations import BITS, random_image


# Reasons. A predicate sees the parsed header, with objects as lists of pairs; the reference has accepted it.

class Pairs(list):
    """A parsed object."""


def parsed(image):
    length = struct.unpack("<Q", image[:8])[0]
    return json.loads(image[8:8 + length], object_pairs_hook=Pairs)


def parsed_nodes(node):
    yield node
    if isinstance(node, Pairs):
        for _, value in node:
            yield from parsed_nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from parsed_nodes(value)


def parsed_entries(root):
    return [value for name, value in root if name != "__metadata__"]


def has_duplicate_key(root):
    return any(isinstance(node, Pairs) and len({name for name, _ in node}) < len(node) for node in parsed_nodes(root))


def has_entry_as_list(root):
    return any(not isinstance(entry, Pairs) for entry in parsed_entries(root))


def has_dtype_object(root):
    entries = (entry for entry in parsed_entries(root) if isinstance(entry, Pairs))
    return any(isinstance(dict(entry).get("dtype"), Pairs) for entry in entries)


def has_null_metadata(root):
    return ("__metadata__", None) in root


def shapes(root):
    for entry in parsed_entries(root):
        yield (dict(entry)["dtype"], dict(entry)["shape"]) if isinstance(entry, Pairs) else entry[:2]


def has_size_beyond_64_bits_signed(root):
    return any(size >= 2**63 for _, shape in shapes(root) for size in shape)


def has_product_beyond_64_bits_signed(root):
    for dtype, shape in shapes(root):
        bits = BITS[dtype if isinstance(dtype, str) else dtype[0][0]]
        for size in shape:
            bits *= max(size, 1)
        if 0 in shape and bits >= 2**63:
            return True
    return False


Reason = collections.namedtuple("Reason", "text holds says")
REASONS = [
    Reason("a key twice: the format forbids it, the reference keeps the last", has_duplicate_key, r"has '.*' twice"),
    Reason("an entry as a list: its Rust type may be written so, the format has objects", has_entry_as_list,
           r"its entry is not an object"),
    Reason("a dtype as {name: null}: its Rust type may be written so, the format has strings", has_dtype_object,
           r"dtype is missing"),
    Reason("__metadata__ null: the format has a map of strings", has_null_metadata, r"__metadata__ is not an object"),
    Reason("a size of 2^63 or more beside a zero: torch cannot hold it", has_size_beyond_64_bits_signed,
           r"shape holds \d+, not a count"),
    Reason("sizes beside a zero whose product overflows: torch cannot hold them", has_product_beyond_64_bits_signed,
           r"the shape overflows 64 bits"),
]


def reason_for(image, message):
    root = parsed(image)
    return next((reason.text for reason in REASONS if re.search(reason.says, message) and reason.holds(root)), None)


# The two readers.

def reference(image):
    """{name: (dtype, shape, bytes)}, or None where it rejects."""
    try:
        return {name: (t["dtype"], list(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(image)}
    except safetensors.SafetensorError:
        return None


def ask_peer(peer, images):
    sent = b"".join(struct.pack("<Q", len(image)) + image for image in images)
    answered = subprocess.run([peer], input=sent, stdout=subprocess.PIPE, check=False)
    lines = answered.stdout.splitlines()
    if answered.returncode != 0 or len(lines) != len(images):
        sys.exit(f"{peer} ended with {answered.returncode} on image {len(lines)}:\n{images[len(lines)]!r}")
    return [json.loads(line) for line in lines]


def described(image, tensors):
    return {name: (dtype, shape, image[begin:end]) for name, (dtype, shape, begin, end) in tensors.items()}


def compare(image, ours):
    """(verdict, complaint or None)."""
    theirs = reference(image)
    if "accept" in ours:
        if theirs is None:
            return "accepted by us alone", "the reference rejects it"
        same = described(image, ours["accept"]) == theirs
        return "accepted by both", None if same else f"we read {ours['accept']}, the reference {theirs}"
    if theirs is None:
        return "rejected by both", None
    reason = reason_for(image, ours["reject"])
    return reason or "rejected by us alone", None if reason else "no reason for: " + ours["reject"]


def fuzz(peer, count, seed):
    choose = random.Random(seed)
    cases = [random_image(choose) for _ in range(count)]
    verdicts, mutations, complaints = collections.Counter(), collections.Counter(), []
    for (image, done), ours in zip(cases, ask_peer(peer, [image for image, _ in cases])):
        verdict, complaint = compare(image, ours)
        verdicts[verdict] += 1
        mutations.update(done)
        if complaint:
            complaints.append(f"{'+'.join(done)}: {complaint}\n  {image[:600]!r}")
    return verdicts, mutations, complaints


def report(counts, title):
    print(title)
    for what, count in counts.most_common():
        print(f"{count:8} {what}")


def run(peer, count, seed):
    verdicts, mutations, complaints = fuzz(peer, count, seed)
    report(mutations, f"mutations in {count} images, seed {seed}:")
    report(verdicts, "verdicts:")
    wanted = ["accepted by both", "rejected by both"] + [reason.text for reason in REASONS]
    complaints += [f"never seen: {verdict}" for verdict in wanted if verdicts[verdict] == 0]
    print("\n".join(complaints[:10]))
    return 1 if complaints else 0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("peer")
    arguments.add_argument("--images", type=int, default=40000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    return run(options.peer, options.images, options.seed)


if __name__ == "__main__":
    sys.exit(main())
