"""The files of a comparison: Megatron token data, and model directories in every layout that is read."""
import json
import re
import shutil

import numpy
import torch
from safetensors.torch import load_file, save_file

INDEX = "model.safetensors.index.json"
FUSED = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)$")
SINGLE = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj\.weight$")
# Of the released config.json files; neither transformers' nor dsmoe's numbers depend on them.
PUBLISHED_EXTRAS = {"aux_loss_alpha": 0.001, "seq_aux": True, "ep_size": 1, "moe_layer_freq": 1,
                    "pretraining_tp": 1, "transformers_version": "4.39.3"}
PUBLISHED_ROUTER = {"v2": {"scoring_func": "softmax"}, "v3": {"scoring_func": "sigmoid", "topk_method": "noaux_tc"}}


def write_megatron(prefix, documents):
    """PREFIX.bin: int32 tokens back to back; PREFIX.idx: lengths, byte offsets, document boundaries."""
    sizes = numpy.array([len(document) for document in documents], "<i4")
    starts = numpy.concatenate(([0], numpy.cumsum(sizes, dtype="<i8")[:-1] * 4)).astype("<i8")
    boundaries = numpy.arange(len(documents) + 1, dtype="<i8")
    head = b"MMIDIDX\0\0" + numpy.array([1], "<u8").tobytes() + bytes([4])
    counts = numpy.array([len(sizes), len(boundaries)], "<u8").tobytes()
    prefix.with_suffix(".bin").write_bytes(numpy.concatenate(documents).astype("<i4").tobytes())
    prefix.with_suffix(".idx").write_bytes(
        head + counts + sizes.tobytes() + starts.tobytes() + boundaries.tobytes())


def split_experts(tensors):
    """Fused expert tensors, as transformers holds them, under their published names."""
    out = {}
    for name, tensor in tensors.items():
        found = FUSED.match(name)
        if not found:
            out[name] = tensor
            continue
        for expert, rows in enumerate(tensor):
            parts = {"down": rows} if found[2] == "down_proj" else dict(zip(("gate", "up"), rows.chunk(2)))
            out |= {f"{found[1]}.{expert}.{part}_proj.weight": part_rows for part, part_rows in parts.items()}
    return out


def fuse_experts(tensors):
    """The published per-expert tensors in the two that transformers holds."""
    out, experts = {}, {}
    for name, tensor in tensors.items():
        found = SINGLE.match(name)
        if found:
            experts.setdefault(found[1], {})[int(found[2]), found[3]] = tensor
        else:
            out[name] = tensor
    for prefix, parts in experts.items():
        count = len(parts) // 3
        out[f"{prefix}.gate_up_proj"] = torch.stack(
            [torch.cat([parts[e, "gate"], parts[e, "up"]]) for e in range(count)])
        out[f"{prefix}.down_proj"] = torch.stack([parts[e, "down"] for e in range(count)])
    return out


def read_index(directory):
    return json.loads((directory / INDEX).read_text())


def weight_files(directory):
    """{tensor: file name}, by the index where there is one."""
    if (directory / INDEX).exists():
        return read_index(directory)["weight_map"]
    return {name: "model.safetensors" for name in load_file(directory / "model.safetensors")}


def read_tensors(directory):
    """{name: tensor} over all shards."""
    out = {}
    for file in sorted(set(weight_files(directory).values())):
        out |= load_file(directory / file)
    return out


def read_config(directory):
    return json.loads((directory / "config.json").read_text())


def write_config(directory, config):
    (directory / "config.json").write_text(json.dumps(config, indent=2))


def as_published(config, family):
    """The keys of the released config.json files in place of transformers' newer ones."""
    out = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype", "head_dim",
                                                                       "qk_head_dim", "rope_interleave")}
    rope = dict(config["rope_parameters"])
    out["torch_dtype"] = config["dtype"]
    out["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    out["rope_scaling"] = {"type": kind} | rope if kind != "default" else None
    return out | PUBLISHED_EXTRAS | PUBLISHED_ROUTER[family]


def save_fused(directory):
    tensors = fuse_experts(read_tensors(directory))
    save_file({name: t.contiguous() for name, t in tensors.items()}, directory / "model.safetensors",
              metadata={"format": "pt"})


def copy_directory(source, target, **changes):
    """A model directory with some keys of its config.json changed; a value of ... takes the key out."""
    shutil.copytree(source, target)
    config = read_config(target) | changes
    write_config(target, {key: value for key, value in config.items() if value is not ...})
    return target
