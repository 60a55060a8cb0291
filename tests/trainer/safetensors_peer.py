"""The Python side of safetensors_test.cpp.

safetensors_peer.py FILE   reads FILE, checks every value, and checks that the reference writer makes the same bytes
"""
import pathlib
import sys

import safetensors.torch
import torch

DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
          "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
          "u8": torch.uint8, "bool": torch.bool, "u16": torch.uint16, "u32": torch.uint32,
          "u64": torch.uint64, "c64": torch.complex64, "e5m2": torch.float8_e5m2, "e4m3": torch.float8_e4m3fn,
          "e8m0": torch.float8_e8m0fnu, "e4m3z": torch.float8_e4m3fnuz, "e5m2z": torch.float8_e5m2fnuz}


def sample():
    tensors = {}
    for name, dtype in DTYPES.items():
        values = torch.arange(1, 13) % (2 if dtype == torch.bool else 13)
        tensors[name] = values.to(dtype).view(4, 3)
    tensors["scalar"] = torch.tensor(7.5)
    tensors["empty"] = torch.zeros(2, 0)
    tensors['model.ä"quoted".weight'] = torch.full((5,), 255, dtype=torch.uint8)
    return tensors


def bits(tensor):
    return tensor.flatten().view(torch.uint8)


def compare(path):
    ours = safetensors.torch.load_file(path)
    expected = sample()
    assert ours.keys() == expected.keys(), ours.keys() ^ expected.keys()
    for name, tensor in expected.items():
        assert ours[name].dtype == tensor.dtype and ours[name].shape == tensor.shape, name
        assert torch.equal(bits(ours[name]), bits(tensor)), name
    theirs = safetensors.torch.save(expected, metadata={"format": "pt"})
    ours = pathlib.Path(path).read_bytes()
    assert ours == theirs, f"we wrote\n{ours}\nthe reference writer\n{theirs}"


if __name__ == "__main__":
    compare(sys.argv[1])
