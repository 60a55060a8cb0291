"""Random tiny models of transformers' DeepseekV2ForCausalLM and DeepseekV3ForCausalLM.

A model is named by its class and a number, `v2-07`: the same name gives the same configuration, weights and
documents on every machine. What every class must have seen (a compressed query or none, YaRN or none, both ways
to choose experts) alternates with the number; sizes are drawn; CORNERS are placed by hand.
"""
import dataclasses
import json
import random

COUNT = {"v2": 32, "v3": 18}
LONGEST = 160  # tokens of a document
POSITIONS = 256

# Overrides of what was drawn, by name: the edges of each key's range.
CORNERS = {
    "v2-00": {"num_attention_heads": 1, "hidden_size": 24, "qk_rope_head_dim": 2},
    "v2-01": {"num_hidden_layers": 2, "first_k_dense_replace": 2},
    "v2-02": {"first_k_dense_replace": 0, "n_shared_experts": 3},
    "v2-03": {"n_shared_experts": 0},
    "v2-04": {"num_attention_heads": 8, "hidden_size": 64, "qk_rope_head_dim": 32},
    "v2-05": {"n_routed_experts": 6, "n_group": 6, "topk_group": 4, "num_experts_per_tok": 3,
              "topk_method": "group_limited_greedy"},
    "v2-06": {"vocab_size": 7, "bos_token_id": 0, "eos_token_id": 6},
    "v2-08": {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 4},
    "v2-09": {"n_routed_experts": 12, "n_group": 3, "topk_group": 3, "num_experts_per_tok": 5},
    "v2-10": {"v_head_dim": 24, "qk_nope_head_dim": 4, "num_experts_per_tok": 1},
    "v2-11": {"v_head_dim": 3, "qk_nope_head_dim": 16, "routed_scaling_factor": 16.0},
    "v2-12": {"num_hidden_layers": 3, "first_k_dense_replace": 2},
    # The ramp has no width, ends before it begins, or lies beyond the last pair; the factor is 1.
    "v2-14": {"yarn": {"factor": 4.0, "original_max_position_embeddings": 4, "beta_fast": 32, "beta_slow": 1}},
    "v2-15": {"rope_theta": 10.0, "qk_rope_head_dim": 32,
              "yarn": {"factor": 8.0, "original_max_position_embeddings": 4, "beta_fast": 32, "beta_slow": 1}},
    "v2-18": {"rope_theta": 4.0, "yarn": {"factor": 2.0, "original_max_position_embeddings": 64,
                                          "beta_fast": 0.5, "beta_slow": 0.01}},
    "v2-19": {"yarn": {"factor": 1.0, "original_max_position_embeddings": 32, "mscale": 0.7,
                       "mscale_all_dim": 0.9}},
    "v2-22": {"q_lora_rank": 3, "kv_lora_rank": 2},
    "v2-23": {"yarn": {"factor": 40.0, "original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1,
                       "mscale": 0.707, "mscale_all_dim": 0.707}},
    "v3-00": {"n_routed_experts": 8, "n_group": 1, "topk_group": 1},
    "v3-01": {"num_hidden_layers": 2, "first_k_dense_replace": 2},
    "v3-02": {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 4},
    "v3-03": {"n_shared_experts": 0},
    "v3-04": {"n_routed_experts": 16, "n_group": 4, "topk_group": 4, "num_experts_per_tok": 4},
    "v3-05": {"first_k_dense_replace": 0, "num_experts_per_tok": 1, "norm_topk_prob": False},
    "v3-06": {"yarn": {"factor": 40.0, "original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1,
                       "mscale": 1.0, "mscale_all_dim": 1.0}},
    "v3-08": {"num_attention_heads": 3, "hidden_size": 25},  # V2 would refuse the width
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """config: arguments of the transformers configuration. window: 0 for whole documents.

    layout: per_expert, fused or sharded tensors. spelling: of config.json, as transformers 5 writes it or as the
    released models have it.
    """
    name: str
    config: dict
    layout: str
    spelling: str
    window: int
    lengths: tuple

    @property
    def family(self):
        return self.name[:2]

    def __str__(self):
        return json.dumps(dataclasses.asdict(self))


def widths(dice, step):
    """Widths around which a complex view is taken are multiples of `step`: README.md, Limits."""
    heads = dice.choice([1, 2, 2, 3, 4, 5, 6, 8])
    return {"num_attention_heads": heads, "hidden_size": heads * dice.randint(-(-16 // heads), 64 // heads),
            "kv_lora_rank": step * dice.randint(2, 40 // step), "qk_nope_head_dim": step * dice.randint(1, 24 // step),
            "qk_rope_head_dim": 2 * dice.randint(1, 16), "v_head_dim": dice.randint(2, 32),
            "intermediate_size": dice.randint(8, 80), "moe_intermediate_size": dice.randint(4, 32)}


def layers(dice):
    count = dice.randint(1, 3)
    return {"num_hidden_layers": count, "first_k_dense_replace": dice.randint(0, min(1, count - 1))}


def tokens(dice):
    size = dice.choice([31, 64, 97, 131, 259, 300])
    bos, eos = dice.sample(range(size), 2)
    return {"vocab_size": size, "bos_token_id": bos, "eos_token_id": eos}


def groups(dice, smallest):
    """Experts in groups of at least `smallest`, of which a token reaches fewer than all."""
    count, size = dice.choice([2, 3, 4, 8]), dice.randint(smallest, 6)
    reached = dice.randint(1, count - 1)
    return {"n_routed_experts": count * size, "n_group": count, "topk_group": reached,
            "num_experts_per_tok": dice.randint(2, max(2, min(8, reached * size)))}


def yarn(dice):
    scaling = {"factor": dice.choice([1.5, 2.0, 4.0, 10.0, 40.0]),
               "original_max_position_embeddings": dice.choice([8, 16, 32, 64])}
    fast, slow = dice.choice([(None, None), (32, 1), (4, 1), (2, 0.5), (1.5, 0.25), (3.5, 0.1)])
    scales = dice.choice([{}, {"mscale": 1.0}, {"mscale": 0.707, "mscale_all_dim": 0.707},
                          {"mscale": 1.0, "mscale_all_dim": 0.5}, {"mscale": 0.6, "mscale_all_dim": 1.3}])
    return scaling | ({"beta_fast": fast, "beta_slow": slow} if fast else {}) | scales


def common(dice, number, step):
    return widths(dice, step) | layers(dice) | tokens(dice) | {
        "q_lora_rank": dice.randint(3, 40) if number % 2 else None,
        "n_shared_experts": dice.randint(1, 3),
        "routed_scaling_factor": dice.choice([1.0, 1.0, 0.5, 2.5, 16.0]),
        "rope_theta": dice.choice([10000.0, 10000.0, 500.0, 1000000.0]),
        "yarn": yarn(dice) if number // 2 % 2 else None}


def draw_v2(dice, number):
    config = common(dice, number, step=2) | groups(dice, smallest=1)
    config["topk_method"] = "group_limited_greedy" if number // 4 % 2 == 0 else "greedy"
    if config["topk_method"] == "greedy" and dice.random() < 0.5:
        config |= {"n_group": None, "topk_group": None}
    config["num_experts_per_tok"] = min(config["num_experts_per_tok"],
                                        (config["topk_group"] or 1) * config["n_routed_experts"] //
                                        (config["n_group"] or 1))
    return config


def draw_v3(dice, number):
    config = common(dice, number, step=1) | groups(dice, smallest=2)
    return config | {"norm_topk_prob": number // 4 % 2 == 0, "rope_interleave": True,
                     "num_nextn_predict_layers": 0}


def with_rope(config):
    """Takes `yarn` and `rope_theta` into rope_parameters, which is what transformers 5 calls them."""
    config = dict(config)
    theta, scaling = config.pop("rope_theta"), config.pop("yarn")
    kind = {"rope_type": "yarn"} if scaling else {"rope_type": "default"}
    config["rope_parameters"] = kind | {"rope_theta": theta} | (scaling or {})
    return config


def constants(config):
    """What neither class may choose without leaving DeepSeek's model: README.md, Limits."""
    return config | {"num_key_value_heads": config["num_attention_heads"], "rms_norm_eps": 1e-6,
                     "max_position_embeddings": POSITIONS, "tie_word_embeddings": False, "pad_token_id": None}


def lengths(dice, config):
    """Some short documents, a long one (beyond the original positions under YaRN), here and there one token."""
    original = config["rope_parameters"].get("original_max_position_embeddings", 32)
    some = [dice.randint(2, 40) for _ in range(dice.randint(2, 4))] + [dice.randint(original + 8, LONGEST)]
    dice.shuffle(some)
    return tuple(some + [1] * dice.randint(0, 1))


def draw(name):
    dice = random.Random(name)
    number = int(name[3:])
    config = {"v2": draw_v2, "v3": draw_v3}[name[:2]](dice, number) | CORNERS.get(name, {})
    config = constants(with_rope(config))
    return Drawn(name, config, layout=("per_expert", "fused", "sharded")[number % 3],
                 spelling=("transformers", "published")[number // 3 % 2],
                 window=dice.randint(5, 24) if number % 4 == 3 else 0, lengths=lengths(dice, config))


def names():
    return [f"{family}-{number:02}" for family, count in COUNT.items() for number in range(count)]
