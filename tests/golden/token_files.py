"""Megatron's .bin/.idx pairs, byte by byte with numpy, for every type of token.

Documents are lists of sequences: the fixture holds a document of two sequences, an empty sequence and an
empty document, and 0 and the largest id that each type holds.
"""

import numpy as np

import golden

CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
LARGEST_VOCABULARY = 1 << 40  # of what dsmoe is asked to read here


def documents(dtype):
    top = min(int(np.iinfo(dtype).max), LARGEST_VOCABULARY - 1)
    return [[[0, 1, top]], [[7, 6], [5]], [], [[]], [[top, 2, 3, 4]]]


def bin_bytes(docs, dtype):
    tokens = [token for doc in docs for sequence in doc for token in sequence]
    return np.array(tokens, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()


def idx_bytes(docs, dtype):
    lengths = np.array([len(sequence) for doc in docs for sequence in doc], dtype="<i8")
    ends = np.cumsum(lengths) * np.dtype(dtype).itemsize
    pointers = np.concatenate([[0], ends[:-1]])
    boundaries = np.concatenate([[0], np.cumsum([len(doc) for doc in docs])])
    return b"".join([b"MMIDIDX\x00\x00", np.array([1], "<u8").tobytes(), np.array([CODES[dtype]], "u1").tobytes(),
                     np.array([len(lengths), len(boundaries)], "<u8").tobytes(), lengths.astype("<i4").tobytes(),
                     pointers.astype("<i8").tobytes(), boundaries.astype("<i8").tobytes()])


def main():
    cases = []
    for dtype in CODES:
        docs = documents(dtype)
        flat = [[token for sequence in doc for token in sequence] for doc in docs]
        cases.append({"dtype": dtype, "sequences": sum(map(len, docs)), "documents": flat,
                      "idx": idx_bytes(docs, dtype).hex(), "bin": bin_bytes(docs, dtype).hex()})
    written = [[5, 6, 7], [8], [9, 10]]
    whole = [[doc] for doc in written]
    golden.write("token_files", {
        "read": cases,
        # What a writer makes of these documents, one sequence each, and with sequences of at most two tokens.
        "written": [{"dtype": dtype, "limit": limit, "documents": written, "idx": idx_bytes(docs, dtype).hex(),
                     "bin": bin_bytes(docs, dtype).hex()}
                    for dtype in ("uint16", "int32")
                    for limit, docs in ((1000, whole), (2, [[[5, 6], [7]], [[8]], [[9, 10]]]))]})


if __name__ == "__main__":
    main()
