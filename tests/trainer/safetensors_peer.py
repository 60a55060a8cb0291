"""The Python side of safetensors_test.cpp.

compare FILE   reads FILE, checks every value, and checks that the reference writer makes the same bytes
damage DIR     writes damaged files to DIR and the reference reader's verdict on each to DIR/verdicts
"""
import pathlib
import random
import struct
import sys

import safetensors
import safetensors.torch
import torch

DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
          "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
          "u8": torch.uint8, "bool": torch.bool}


def sample():
    tensors = {}
    for name, dtype in DTYPES.items():
        values = torch.arange(12) % (2 if dtype == torch.bool else 13)
        tensors[name] = values.to(dtype).view(4, 3)
    tensors["scalar"] = torch.tensor(7.5)
    tensors["empty"] = torch.zeros(2, 0)
    tensors['model.ä"quoted".weight'] = torch.full((5,), 255, dtype=torch.uint8)
    return tensors


def compare(path):
    ours = safetensors.torch.load_file(path)
    expected = sample()
    assert ours.keys() == expected.keys(), ours.keys() ^ expected.keys()
    for name, tensor in expected.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name
    theirs = safetensors.torch.save(expected, metadata={"format": "pt"})
    ours = pathlib.Path(path).read_bytes()
    assert ours == theirs, f"we wrote\n{ours}\nthe reference writer\n{theirs}"


def file_of(header, data):
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype, shape, begin, end):
    return b'{"dtype":"%s","shape":%s,"data_offsets":[%s,%s]}' % (dtype, shape, begin, end)


def chosen():
    """Whole headers that random damage would hardly find.

    A tensor named twice is not among them: the format forbids it, the reference keeps one, we reject."""
    a = b'"a":' + entry(b"F32", b"[2]", b"0", b"8")
    data = bytes(8)
    for header in (b"{%s}" % a, b"{%s}  \n" % a, b"  {%s}" % a, b"{%s}\0" % a, b"\xef\xbb\xbf{%s}" % a,
                   b'{"__metadata__":{"k":1},%s}' % a, b'{"__metadata__":{"k":"v"},%s}' % a,
                   b"[%s]" % a, b"{%s}{}" % a, b'{%s,"b":3}' % a,
                   b'{%s,"b":%s}' % (a, entry(b"F32", b"[0]", b"8", b"8")),
                   b'{%s,"b":%s}' % (a, entry(b"F32", b"[0]", b"4", b"4")),
                   b'{%s,"b":%s}' % (a, entry(b"F32", b"[2]", b"0", b"8"))):
        yield file_of(header, data)
    for shape in (b"[]", b"[2.0]", b"[2e0]", b"[-2]", b"[2,1]", b"[4294967296,4294967296]", b"2", b"null"):
        yield file_of(b'{"a":%s}' % entry(b"F32", shape, b"0", b"8"), data)
    for dtype in (b"F64", b"f32", b"U8", b"BOOL", b"F4", b"F8_E4M3", b"C64", b"F31"):
        for count in (b"1", b"2", b"4", b"8", b"16"):
            yield file_of(b'{"a":%s}' % entry(dtype, b"[%s]" % count, b"0", b"8"), data)
    for count in range(8):
        yield file_of(b"{%s}" % a, bytes(count))
        yield bytes(count)
    for key in (b"dtype", b"shape", b"data_offsets"):
        yield file_of(b"{%s}" % a.replace(b'"%s"' % key, b'"other"'), data)
        yield file_of(b"{%s}" % a.replace(b'"%s"' % key, b'"other":1,"%s"' % key), data)
    for depth in (10, 100000):
        yield file_of(b"[" * depth, b"")


def damaged():
    yield from chosen()
    good = safetensors.torch.save(sample(), metadata={"format": "pt"})
    header_bytes = 8 + struct.unpack("<Q", good[:8])[0]
    choose = random.Random(1)
    for _ in range(1000):
        bad = bytearray(good)
        for _ in range(choose.choice((1, 1, 2, 3))):
            place = choose.randrange(header_bytes)
            bad[place] = choose.choice((bad[place] ^ (1 << choose.randrange(8)), ord(choose.choice('0123456789 ,:"{}[]'))))
        yield bytes(bad)


def accepts(data):
    try:
        safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return False
    return True


def damage(directory):
    directory = pathlib.Path(directory)
    with open(directory / "verdicts", "w") as verdicts:
        for number, data in enumerate(damaged()):
            (directory / str(number)).write_bytes(data)
            verdicts.write(f"{number} {'accepted' if accepts(data) else 'rejected'}\n")


if __name__ == "__main__":
    {"compare": compare, "damage": damage}[sys.argv[1]](sys.argv[2])
