"""A rank that opens a model directory keeps its own share and little more, however large the files are."""
import json
import pathlib
import struct
import unittest

from support import PYTHON, CliTest

SLACK = 256 << 20
WIDTH, LAYERS, EXPERTS, EXPERT_WIDTH, VOCABULARY = 1024, 4, 96, 512, 32000
CONFIG = {
    "model_type": "deepseek_v2", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
    "num_attention_heads": 8, "intermediate_size": 2048, "q_lora_rank": None, "kv_lora_rank": 128,
    "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": EXPERTS,
    "n_shared_experts": 1, "moe_intermediate_size": EXPERT_WIDTH, "num_experts_per_tok": 4,
    "first_k_dense_replace": 1, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1,
    "topk_method": "greedy", "n_group": 1, "topk_group": 1}
# Runs a command and writes the most memory that it had, in bytes, to a file of its own.
PEAK = ("import os, resource, subprocess, sys; code = subprocess.run(sys.argv[2:]).returncode; "
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024; "
        "open(f'{sys.argv[1]}-{os.getpid()}', 'w').write(str(peak)); sys.exit(code)")


def shapes():
    def feed_forward(prefix, width):
        return {prefix + "gate_proj": (width, WIDTH), prefix + "up_proj": (width, WIDTH),
                prefix + "down_proj": (WIDTH, width)}

    found = {"model.embed_tokens": (VOCABULARY, WIDTH), "lm_head": (VOCABULARY, WIDTH), "model.norm": (WIDTH,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        found |= {prefix + "input_layernorm": (WIDTH,), prefix + "post_attention_layernorm": (WIDTH,),
                  prefix + "self_attn.q_proj": (8 * 96, WIDTH), prefix + "self_attn.kv_a_proj_with_mqa": (160, WIDTH),
                  prefix + "self_attn.kv_a_layernorm": (128,), prefix + "self_attn.kv_b_proj": (8 * 128, 128),
                  prefix + "self_attn.o_proj": (WIDTH, 8 * 64)}
        if layer == 0:
            found |= feed_forward(prefix + "mlp.", 2048)
            continue
        found |= {prefix + "mlp.gate": (EXPERTS, WIDTH)} | feed_forward(prefix + "mlp.shared_experts.", EXPERT_WIDTH)
        for expert in range(EXPERTS):
            found |= feed_forward(f"{prefix}mlp.experts.{expert}.", EXPERT_WIDTH)
    return found


def elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def write_model(folder, dtype, width):
    """Zeros, which a sparse file stores for nothing."""
    header, offset = {}, 0
    for name, shape in shapes().items():
        end = offset + elements(shape) * width
        header[name + ".weight"] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return offset


def share(ranks, bytes_per_element):
    """Of one rank: everything dense, and its part of the experts."""
    experts = sum(elements(shape) for name, shape in shapes().items() if ".mlp.experts." in name)
    dense = sum(elements(shape) for shape in shapes().values()) - experts
    return (dense + experts // ranks) * bytes_per_element


class LoadingTest(CliTest):

    def peaks(self, ranks, precision):
        files = self.folder / f"peak-{ranks}-{precision}"
        self.succeed("generate", "--model", "model", "--token-ids", "5", "--max-tokens", "1", "--precision", precision,
                     "--json", ranks=ranks, wrapper=[PYTHON, "-c", PEAK, str(files)])
        return [int(path.read_text()) for path in self.folder.glob(files.name + "-*")]

    def check(self, ranks, precision, bytes_per_element):
        found = self.peaks(ranks, precision)
        self.assertEqual(len(found), max(ranks, 1))
        for peak in found:
            limit = share(max(ranks, 1), bytes_per_element) + SLACK
            self.assertLess(peak, limit, f"{ranks} ranks, {precision}: {peak / 2**20:.0f} MiB, "
                                         f"limit {limit / 2**20:.0f} MiB")

    def test_two_gigabytes_of_float32(self):
        pathlib.Path(self.folder / "model").mkdir()
        self.assertGreater(write_model(self.folder / "model", "F32", 4), 2e9)
        self.check(0, "fp32", 4)
        self.check(2, "fp32", 4)
        self.check(2, "bf16", 2)

    def test_bfloat16_as_float32(self):
        pathlib.Path(self.folder / "model").mkdir()
        write_model(self.folder / "model", "BF16", 2)
        self.check(2, "fp32", 4)
        self.check(0, "bf16", 2)


if __name__ == "__main__":
    unittest.main()
