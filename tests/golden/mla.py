"""Multi-head Latent Attention in float64: output and gradients, written from equations (37)-(47) of DeepSeek-V2.

Everything is done the plain way: RoPE on interleaved pairs by 2x2 rotations, one softmax per head and
position over an explicit list of scores. Weights carry the published names and [out, in] shapes; rows of
the b projections lie head by head. The gradients are those of sum(output * grad_output).
"""

import math

import golden
import torch

import yarn

HEAD = {"hidden_size": 10, "num_attention_heads": 3, "qk_nope_head_dim": 4, "qk_rope_head_dim": 6,
        "v_head_dim": 5, "kv_lora_rank": 7, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None}
SEQUENCES, POSITIONS = 2, 5
YARN = {"factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0,
        "mscale": 0.707, "mscale_all_dim": 0.707}


def random_weights(config, generator):
    heads, nope, rope = config["num_attention_heads"], config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    hidden, value, latent = config["hidden_size"], config["v_head_dim"], config["kv_lora_rank"]
    shapes = {"kv_a_proj_with_mqa": (latent + rope, hidden), "kv_a_layernorm": (latent,),
              "kv_b_proj": (heads * (nope + value), latent), "o_proj": (hidden, heads * value)}
    if config["q_lora_rank"] is None:
        shapes["q_proj"] = (heads * (nope + rope), hidden)
    else:
        shapes["q_a_proj"] = (config["q_lora_rank"], hidden)
        shapes["q_a_layernorm"] = (config["q_lora_rank"],)
        shapes["q_b_proj"] = (heads * (nope + rope), config["q_lora_rank"])
    return {f"{name}.weight": draw(shape, generator) for name, shape in shapes.items()}


def draw(shape, generator):
    """Three decimals, so that the file stays readable; norm weights lie around 1."""
    values = torch.randn(shape, generator=generator, dtype=torch.float64).mul(0.5)
    return values.add(1.0 if len(shape) == 1 else 0.0).mul(1000).round().div(1000).requires_grad_()


def rms_norm(row, weight, eps):
    return row / torch.sqrt((row * row).mean() + eps) * weight


def rotate(row, position, frequencies):
    """Pair (2i, 2i+1) turns by position * frequency i."""
    out = []
    for i, frequency in enumerate(frequencies):
        cos, sin = math.cos(position * frequency), math.sin(position * frequency)
        out += [row[2 * i] * cos - row[2 * i + 1] * sin, row[2 * i] * sin + row[2 * i + 1] * cos]
    return torch.stack(out)


def query(h, weights, config):
    if config["q_lora_rank"] is None:
        return weights["q_proj.weight"] @ h
    latent = rms_norm(weights["q_a_proj.weight"] @ h, weights["q_a_layernorm.weight"], config["rms_norm_eps"])
    return weights["q_b_proj.weight"] @ latent


def project(h, position, weights, config, frequencies):
    """Per head (q, k, v) of one position."""
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    compressed = weights["kv_a_proj_with_mqa.weight"] @ h
    latent, key_rope = compressed[: config["kv_lora_rank"]], compressed[config["kv_lora_rank"] :]
    key_rope = rotate(key_rope, position, frequencies)
    latent = rms_norm(latent, weights["kv_a_layernorm.weight"], config["rms_norm_eps"])
    queries = query(h, weights, config).split(nope + rope)
    expanded = (weights["kv_b_proj.weight"] @ latent).split(nope + value)
    return [
        (torch.cat([q[:nope], rotate(q[nope:], position, frequencies)]), torch.cat([kv[:nope], key_rope]), kv[nope:])
        for q, kv in zip(queries, expanded)
    ]


def attend(sequence, weights, config):
    angles = yarn.case("", config, config["rope_scaling"])
    positions = [project(h, t, weights, config, angles["frequencies"]) for t, h in enumerate(sequence)]
    rows = []
    for t in range(len(positions)):
        heads = []
        for head in range(config["num_attention_heads"]):
            q = positions[t][head][0]
            scores = torch.stack([q @ positions[j][head][1] for j in range(t + 1)]) * angles["softmax_scale"]
            weights_t = torch.exp(scores - scores.max())
            weights_t = weights_t / weights_t.sum()
            heads.append(sum(p * positions[j][head][2] for j, p in enumerate(weights_t)))
        rows.append(weights["o_proj.weight"] @ torch.cat(heads))
    return torch.stack(rows)


def case(name, config, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = random_weights(config, generator)
    shape = (SEQUENCES, POSITIONS, config["hidden_size"])
    inputs, grad_output = draw(shape, generator), draw(shape, generator).detach()
    output = torch.stack([attend(sequence, weights, config) for sequence in inputs])
    output.backward(grad_output)
    return {
        "name": name,
        "config": config,
        "weights": {key: golden.tensor(value) for key, value in weights.items()},
        "input": golden.tensor(inputs),
        "output": golden.tensor(output),
        "grad_output": golden.tensor(grad_output),
        "grad_input": golden.tensor(inputs.grad),
        "grad_weights": {key: golden.tensor(value.grad) for key, value in weights.items()},
    }


def main():
    plain = {**HEAD, "q_lora_rank": None}
    compressed = {**HEAD, "q_lora_rank": 6}
    golden.write("mla", {"cases": [
        case("without query compression", plain, 1),
        case("with query compression", compressed, 2),
        case("with YaRN", {**compressed, "rope_scaling": YARN}, 3),
    ]})


if __name__ == "__main__":
    main()
