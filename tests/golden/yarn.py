"""YaRN on the decoupled rotary key: frequencies, cos/sin factor and softmax factor, in plain Python.

Frequencies below the ramp turn fast and keep their value, those above it are divided by the factor
(DeepSeek-V2 section 3.1.4). softmax_scale = (nope + rope)^-0.5 * m^2 with m = 0.1 mscale_all_dim ln s + 1;
cos and sin carry the ratio of the two m's, which is 1 in every published configuration.
"""

import math

import golden

BASE = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rope_theta": 10000.0}
YARN = {"factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 32.0, "beta_slow": 1.0}
KNOWN_FREQUENCIES = {0: 1.0, 10: 5.623413e-2, 11: 3.900693e-2, 15: 8.334509e-3, 22: 1.778279e-4,
                     23: 3.333804e-5, 31: 3.333804e-6}
KNOWN_SCALES = {None: 0.0721688, 0.707: 0.1147214, 1.0: 0.1352338}


def m(scale, mscale):
    return 1.0 if scale <= 1 else 0.1 * mscale * math.log(scale) + 1.0


def correction_dim(turns, dim, base, length):
    """The (fractional) pair that turns `turns` times over the original length."""
    return dim * math.log(length / (2 * math.pi * turns)) / (2 * math.log(base))


def frequencies(config, yarn):
    dim, base = config["qk_rope_head_dim"], config["rope_theta"]
    plain = [base ** (-2 * i / dim) for i in range(dim // 2)]
    if yarn is None:
        return plain
    length = yarn["original_max_position_embeddings"]
    low = max(math.floor(correction_dim(yarn["beta_fast"], dim, base, length)), 0)
    high = min(math.ceil(correction_dim(yarn["beta_slow"], dim, base, length)), dim - 1)
    high = high + 0.001 if low == high else high
    ramp = [min(max((i - low) / (high - low), 0.0), 1.0) for i in range(dim // 2)]
    return [f / yarn["factor"] * r + f * (1 - r) for f, r in zip(plain, ramp)]


def case(name, config, yarn):
    width = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    scale, cos_sin = width**-0.5, 1.0
    if yarn is not None:
        scale *= m(yarn["factor"], yarn["mscale_all_dim"]) ** 2
        cos_sin = m(yarn["factor"], yarn["mscale"]) / m(yarn["factor"], yarn["mscale_all_dim"])
    return {"name": name, "config": {**config, "rope_scaling": yarn}, "frequencies": frequencies(config, yarn),
            "cos_sin_factor": cos_sin, "softmax_scale": scale}


def check(value, mscale):
    if mscale is not None:
        for i, want in KNOWN_FREQUENCIES.items():
            assert abs(value["frequencies"][i] / want - 1) < 1e-6, (i, value["frequencies"][i])
    assert abs(value["softmax_scale"] / KNOWN_SCALES[mscale] - 1) < 1e-6, value["softmax_scale"]


def main():
    plain = case("plain", BASE, None)
    v2 = case("V2 and V2-Lite", BASE, {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707})
    v25 = case("V2.5", BASE, {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0})
    for value, mscale in ((plain, None), (v2, 0.707), (v25, 1.0)):
        check(value, mscale)
    ratio = case("unequal mscale", BASE, {**YARN, "mscale": 1.0, "mscale_all_dim": 0.707})
    short = case("short original length", {**BASE, "qk_rope_head_dim": 16},
                 {**YARN, "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 0.707,
                  "mscale_all_dim": 0.707})
    golden.write("yarn", {"cases": [plain, v2, v25, ratio, short]})


if __name__ == "__main__":
    main()
