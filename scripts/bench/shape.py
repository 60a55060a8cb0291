"""The shape of a dsmoe configuration: its model section, its FLOPs, its config.json for transformers."""

import pathlib
import sys

import yaml

# What the model section means where the file says nothing; the same defaults as dsmoe's.
DEFAULTS = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "initializer_range": 0.006, "routed_scaling_factor": 1.0,
            "max_position_embeddings": 4096, "norm_topk_prob": False, "q_lora_rank": None,
            "first_k_dense_replace": 1, "topk_method": "group_limited_greedy", "rope_scaling": None}


def read_config(path):
    """The YAML file with its model.preset laid under it."""
    config = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    model = dict(DEFAULTS)
    preset = config["model"].pop("preset", None)
    if preset:
        places = [pathlib.Path(path).parent / f"{preset}.yaml", pathlib.Path("configs") / f"{preset}.yaml"]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            sys.exit(f"{path}: model.preset {preset} is at none of {', '.join(map(str, places))}")
        content = yaml.safe_load(found.read_text(encoding="utf-8"))
        model.update(content.get("model", content))
    config["model"] = {**model, **config["model"]}
    return config


def forward_flops(model, length):
    """Model FLOPs of one token's forward pass; attention to half of `length` positions on average."""
    hidden, heads = model["hidden_size"], model["num_attention_heads"]
    nope, rope, value = model["qk_nope_head_dim"], model["qk_rope_head_dim"], model["v_head_dim"]
    rank, latent = model["q_lora_rank"], model["kv_lora_rank"]
    query = hidden * rank + rank * heads * (nope + rope) if rank else hidden * heads * (nope + rope)
    attention = (query + hidden * (latent + rope) + latent * heads * (nope + value) + heads * value * hidden
                 + length / 2 * heads * (nope + rope + value))
    dense = 3 * hidden * model["intermediate_size"]
    experts = model["num_experts_per_tok"] + model["n_shared_experts"]
    moe = 3 * hidden * model["moe_intermediate_size"] * experts + hidden * model["n_routed_experts"]
    layers, dense_layers = model["num_hidden_layers"], model["first_k_dense_replace"]
    total = layers * attention + dense_layers * dense + (layers - dense_layers) * moe + hidden * model["vocab_size"]
    return 2 * total


def hf_config(model):
    """Every key is written out: the class's defaults describe another model."""
    from transformers import DeepseekV2Config

    names = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "max_position_embeddings", "initializer_range", "rms_norm_eps", "kv_lora_rank", "q_lora_rank",
             "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_routed_experts", "n_shared_experts",
             "num_experts_per_tok", "moe_intermediate_size", "first_k_dense_replace", "topk_method", "n_group",
             "topk_group", "norm_topk_prob", "routed_scaling_factor"]
    rope = {"rope_type": "default", "rope_theta": model["rope_theta"], **(model["rope_scaling"] or {})}
    vocabulary = model["vocab_size"]
    return DeepseekV2Config(**{name: model[name] for name in names}, rope_parameters=rope,
                            num_key_value_heads=model["num_attention_heads"], tie_word_embeddings=False,
                            use_cache=False, bos_token_id=model.get("bos_token_id", vocabulary - 3),
                            eos_token_id=model.get("eos_token_id", vocabulary - 2))
