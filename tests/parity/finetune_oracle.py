"""A fine-tuning in transformers and peft, step by step: AdamW on all conversations of a file at once.

Nothing is packed: a batch is conversations side by side, padded on the right, which causal attention never sees.
"""
import contextlib
import dataclasses
import random

import torch

import draw
import oracle

BOS, EOS, VOCABULARY = 256, 257, 259  # of the byte tokenizer
RANK, ALPHA = 4, 8.0
MODEL = draw.Drawn("v2-finetune", {
    "vocab_size": VOCABULARY, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": None,
    "hidden_size": 48, "intermediate_size": 64, "moe_intermediate_size": 16, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 20, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8, "v_head_dim": 12, "n_routed_experts": 16, "n_shared_experts": 2, "num_experts_per_tok": 4,
    "first_k_dense_replace": 1, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2,
    "routed_scaling_factor": 2.5, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, "per_expert", "transformers", 0, ())


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What dsmoe is told in the same words."""
    lr: float
    steps: int
    betas: tuple = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0


# ---- data

@dataclasses.dataclass(frozen=True)
class Sample:
    """weights: what each token counts as a target."""
    ids: list
    weights: list


def encode(messages):
    """DeepSeek-V2's template on bytes: an answer, its space and its EOS carry the answer's weight, all else none."""
    ids, weights, asked = [BOS], [0.0], ""
    for message in messages:
        content = message["content"]
        if message["role"] != "assistant":
            asked += ("User: " if message["role"] == "user" else "") + content + "\n\n"
            continue
        for part, weight in ((list(f"{asked}Assistant:".encode()), 0.0),
                             (list(f" {content}".encode()) + [EOS], message.get("weight", 1.0))):
            ids += part
            weights += [weight] * len(part)
        asked = ""
    return Sample(ids, weights)


def conversations(name, count, longest, sentence):
    """Up to three turns of at most `longest` bytes together, some after a system text, answers of weight 1.

    One answer of a conversation that has others counts for nothing, one for half.
    """
    dice = random.Random(name + " conversations")
    made = []
    while len(made) < count:
        messages = [{"role": "system", "content": sentence(dice)}] if dice.random() < 0.25 else []
        for _ in range(dice.randint(1, 3)):
            messages += [{"role": "user", "content": sentence(dice)}, {"role": "assistant", "content": sentence(dice)}]
        if len(encode(messages).ids) <= longest:
            made.append(messages)
    first, second, *_ = (messages for messages in made if len(messages) > 3)
    first[-1]["weight"], second[-1]["weight"] = 0, 0.5
    return made


def batches(samples, size):
    """(inputs, targets, weights), each [at most size, T], of consecutive samples."""
    for begin in range(0, len(samples), size):
        some = samples[begin : begin + size]
        longest = max(len(sample.ids) for sample in some)
        pad = lambda values: values + [0] * (longest - len(values))
        ids = torch.tensor([pad(sample.ids) for sample in some])
        yield ids[:, :-1], ids[:, 1:], torch.tensor([pad(sample.weights)[1:] for sample in some])


# ---- what is trained

def freeze(model, *parts):
    """Parameters whose name holds one of the parts stay as they are."""
    for name, parameter in model.named_parameters():
        if any(part in name for part in parts):
            parameter.requires_grad_(False)


def targets(model):
    """(target_modules, target_parameters) for attention, head, dense, shared and routed experts, all in full.

    peft takes a module called gate_proj, up_proj or down_proj for the routed experts, wherever it stands: those of
    dense layers and shared experts are therefore named as parameters.
    """
    attention = [name for name, module in model.named_modules()
                 if ".self_attn." in name and isinstance(module, torch.nn.Linear)]
    parts = [name for name, parameter in model.named_parameters()
             if ".mlp." in name and parameter.dim() > 1 and not name.endswith("mlp.gate.weight")]
    return [*attention, "lm_head"], parts


def save_adapter(drawn, directory):
    """An adapter of random A and B, so large that it counts, as peft writes it."""
    import peft

    model = oracle.build(drawn)
    modules, parameters = targets(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=modules,
                                                         target_parameters=parameters, task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(random.Random(drawn.name + " adapter").getrandbits(48))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                width = 0.3 / RANK**0.5 if "lora_B" in name else parameter.shape[1] ** -0.5
                parameter.copy_(width * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(directory)


def with_adapter(model, directory):
    """The model with that adapter, which alone is trained."""
    import peft

    return peft.PeftModel.from_pretrained(model, directory, is_trainable=True)


@contextlib.contextmanager
def opened(directory, precision="fp32", adapter=None, frozen=(), **options):
    """The model to train, with all that transformers computes within in `precision`."""
    model, _ = oracle.load(directory, **options)
    with contextlib.ExitStack() as stack:
        if precision == "fp64":
            model = oracle.in_double(model)
        if adapter:
            model = with_adapter(model, adapter).to(model.dtype)
        if precision == "fp64":
            stack.enter_context(oracle.casts_to_double())
        freeze(model, *frozen)
        yield model.train()


# ---- training

@dataclasses.dataclass(frozen=True)
class Step:
    """Both before the update; the norm before clipping."""
    loss: float
    grad_norm: float


def clip_exactly(parameters, most):
    """clip_grad_norm_ without the 1e-6 that it adds to the norm."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_div_(gradients, (norm / most).clamp(min=1.0))
    return norm


class Training:
    """AdamW on what is not frozen; matrices decay, vectors do not."""

    def __init__(self, model, recipe, clip=torch.nn.utils.clip_grad_norm_, fused=False):
        self.model, self.recipe, self.clip = model, recipe, clip
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [{"params": [p for p in self.trained if p.dim() > 1], "weight_decay": recipe.weight_decay},
                  {"params": [p for p in self.trained if p.dim() <= 1], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.lr,
                                           betas=recipe.betas, eps=recipe.eps, fused=fused)

    def nats(self, inputs, goals, weights):
        logits = self.model(input_ids=inputs, use_cache=False).logits.float().flatten(0, 1)
        nats = torch.nn.functional.cross_entropy(logits, goals.flatten(), reduction="none")
        return (nats * weights.flatten()).sum()

    def loss(self, samples, size=1, backward=False):
        """The weighted mean over all targets, `size` conversations at a time."""
        count, total = sum(sum(sample.weights) for sample in samples), 0.0
        for batch in batches(samples, size):
            share = self.nats(*batch) / count
            if backward:
                share.backward()
            total += share.item()
        return total

    def step(self, samples, size=1):
        loss = self.loss(samples, size, backward=True)
        norm = self.clip(self.trained, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Step(loss, norm.item())
