"""The order of training sequences, in plain Python: SplitMix64, Fisher-Yates, the blend, the packing.

Keys chain SplitMix64's finaliser over (seed, source, epoch, purpose): purpose 0 orders an epoch's documents,
1 its rows. Checked against the published first outputs of SplitMix64 from seed 1234567.
"""

import golden

BITS = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BOS, EOS = 256, 257
SOURCES = [[b"alpha", b"be", b"gamma gamma gamma", b"", b"d" * 30], [b"0123456789", b"\xff\xfe\x00", b"abc"],
           [b"one long document that goes on over several rows"]]
WEIGHTS = [0.5, 0.2, 0.3]
LENGTH, SEED, SEQUENCES = 8, 7, 60


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & BITS
    return z ^ (z >> 31)


def make_key(*parts):
    key = 0
    for part in parts:
        key = mix((key + GOLDEN + mix((part + GOLDEN) & BITS)) & BITS)
    return key


def outputs(state):
    while True:
        state = (state + GOLDEN) & BITS
        yield mix(state)


def permutation(n, key):
    order, stream = list(range(n)), outputs(key)
    for last in range(n - 1, 0, -1):
        other = next(stream) % (last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def blend(weights, total):
    counts, picks = [0] * len(weights), []
    for n in range(total):
        behind = [w * max(n, 1) - c for w, c in zip(weights, counts)]
        source = behind.index(max(behind))
        picks.append([source, counts[source]])
        counts[source] += 1
    return picks


def sequence(source, index):
    documents = [[BOS, *text, EOS] for text in SOURCES[source]]
    rows = (sum(map(len, documents)) - 1) // LENGTH
    epoch, place = divmod(index, rows)
    order = permutation(len(documents), make_key(SEED, source, epoch, 0))
    stream = [token for i in order for token in documents[i]]
    begin = permutation(rows, make_key(SEED, source, epoch, 1))[place] * LENGTH
    return stream[begin:begin + LENGTH + 1]


def main():
    first = outputs(1234567)
    assert [next(first) for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [source for source, _ in blend([.5, .3, .2], 12)] == [0, 1, 2, 0, 1, 0, 2, 0, 1, 0, 0, 1]
    picks = blend(WEIGHTS, SEQUENCES)
    golden.write("order", {
        "documents": [[text.hex() for text in source] for source in SOURCES],
        "weights": WEIGHTS, "sequence_length": LENGTH, "seed": SEED,
        "key": str(make_key(SEED, 2, 3, 1)),
        "permutation": permutation(20, make_key(SEED, 2, 3, 1)),
        "sequences": [{"source": source, "index": index, "tokens": sequence(source, index)}
                      for source, index in picks]})


if __name__ == "__main__":
    main()
