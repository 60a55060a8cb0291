"""What transformers computes, in float32 as released and in float64 throughout."""
import contextlib
import dataclasses
import os
import random
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

import files

CLASSES = {"v2": (transformers.DeepseekV2Config, transformers.DeepseekV2ForCausalLM),
           "v3": (transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM)}
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}
# A choice that hangs on less than this, in units of the router's logits (V3: of its scores), might be another in
# other arithmetic. Rounding in float32 moves them by a few 1e-6.
DECISIVE = 1e-4
MOST_TRIES = 2000

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)


class Redraws:
    """How much of what was drawn hung on a near tie, and was drawn again."""
    documents = 0
    prompts = 0
    kept = 0


# ---- models

def spread(name, tensor, generator):
    """Weights that keep activations alive: unit rows, norms around one, a router of few ties."""
    noise = torch.randn(tensor.shape, generator=generator)
    if "norm" in name:
        return 1 + 0.2 * noise
    if name.endswith("e_score_correction_bias"):
        return 0.2 * noise
    if name.endswith("embed_tokens.weight"):
        return noise
    width = {"mlp.gate.weight": 2.0, "lm_head.weight": 1.5}.get(name.split(".", 3)[-1], 1.0)
    return width * noise / max(tensor.shape[-1], 1) ** 0.5


def build(drawn):
    """The drawn model with the weights of its name, in float32."""
    config_class, model_class = CLASSES[drawn.family]
    model = model_class(config_class(**drawn.config))
    generator = torch.Generator().manual_seed(random.Random(drawn.name + " weights").getrandbits(48))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(spread(name, tensor, generator))
    return model.eval()


def save(drawn, directory):
    """The drawn model as a directory in its layout and spelling."""
    build(drawn).save_pretrained(directory, max_shard_size="20KB" if drawn.layout == "sharded" else "5GB")
    if drawn.layout == "fused":
        files.save_fused(directory)
    if drawn.spelling == "published":
        files.write_config(directory, files.as_published(files.read_config(directory), drawn.family))


def load(directory, **options):
    """The model that transformers makes of a directory, and what it says about missing and unexpected tensors."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        directory, output_loading_info=True, **{"dtype": torch.float32} | PLAIN | options)
    return model.eval(), report


@contextlib.contextmanager
def casts_to_double():
    """Within, every cast to float32 that transformers writes out is one to float64."""
    with contextlib.ExitStack() as stack:
        for name in ("float32", "float"):
            stack.enter_context(mock.patch.object(torch, name, torch.float64))
        stack.enter_context(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        yield


def in_double(model):
    """The same model in float64; to be run within casts_to_double()."""
    with casts_to_double():
        double = type(model)(model.config).double()
    double.load_state_dict(model.state_dict())
    return double.eval()


# ---- routing

def gap(scores, count):
    """The smallest distance between what is just chosen and what just is not."""
    best = scores.sort(dim=-1, descending=True).values
    if count >= best.shape[-1]:
        return float("inf")
    return (best[..., count - 1] - best[..., count]).min().item()


def is_limited(config):
    return config.model_type == "deepseek_v3" or config.topk_method == "group_limited_greedy"


def choice_gap(gate, config, logits):
    """The gap of the choice of experts and, where groups are chosen, of theirs."""
    bias = getattr(gate, "e_score_correction_bias", None)
    choice = logits if bias is None else logits.sigmoid() + bias
    smallest = float("inf")
    if is_limited(config):
        grouped = choice.view(len(choice), config.n_group, -1)
        scores = grouped.max(-1).values if bias is None else grouped.topk(2, dim=-1).values.sum(-1)
        smallest = gap(scores, config.topk_group)
        best = torch.zeros_like(scores).scatter(1, scores.topk(config.topk_group).indices, 1)
        choice = grouped.masked_fill(best[..., None] == 0, float("-inf")).flatten(1)
    return min(smallest, gap(choice, config.num_experts_per_tok))


@contextlib.contextmanager
def watched(model):
    """A list that takes the gap of every routing decision made within."""
    gaps = []
    hooks = [module.register_forward_hook(
        lambda gate, _, output: gaps.append(choice_gap(gate, model.config, output[0])))
        for name, module in model.named_modules() if name.endswith("mlp.gate")]
    yield gaps
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def is_decisive(model, ids, window):
    with watched(model) as gaps:
        for inputs, _ in windows(ids, window):
            model(input_ids=torch.tensor([inputs]), use_cache=False)
    return min(gaps, default=float("inf")) > DECISIVE


# ---- documents and prompts

def windows(ids, window):
    """(inputs, targets) of at most `window` predictions each; neighbours share a token. window 0: all at once."""
    window = window or max(len(ids) - 1, 1)
    for begin in range(0, len(ids) - 1, window):
        end = min(begin + window, len(ids) - 1)
        yield ids[begin:end], ids[begin + 1 : end + 1]


def decisive_document(model, dice, length, window):
    for _ in range(MOST_TRIES):
        ids = [dice.randrange(model.config.vocab_size) for _ in range(length)]
        if is_decisive(model, ids, window):
            Redraws.kept += 1
            return ids
        Redraws.documents += 1
    raise AssertionError(f"no document of {length} tokens without a near tie")


def documents(model, drawn):
    dice = random.Random(drawn.name + " documents")
    return [decisive_document(model, dice, length, drawn.window) for length in drawn.lengths]


@torch.no_grad()
def continued(model, prompt, count):
    """The greedy continuation without its end token, and by how much the nearest runner-up lost."""
    ids = torch.tensor([prompt])
    # Without a mask, generate() would leave out prompt tokens equal to the padding token.
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False,
                         output_logits=True, return_dict_in_generate=True, pad_token_id=0)
    logits = torch.cat(out.logits)
    best = logits.topk(2).values
    new = out.sequences[0, len(prompt) :].tolist()
    if new[-1] == model.config.eos_token_id:
        new.pop()
    return new, ((best[:, 0] - best[:, 1]) / logits.abs().amax(-1)).min().item()


def decisive_prompt(model, dice, length, count):
    """A prompt and its greedy continuation, neither of which hangs on rounding."""
    for _ in range(MOST_TRIES):
        prompt = [dice.randrange(model.config.vocab_size) for _ in range(length)]
        new, margin = continued(model, prompt, count)
        if new and margin > DECISIVE and is_decisive(model, prompt + new, 0):
            return prompt, new
        Redraws.prompts += 1
    raise AssertionError(f"no prompt of {length} tokens without a near tie")


def prompts(model, drawn, count):
    """A short prompt and one of some length, each with its continuation."""
    dice = random.Random(drawn.name + " prompts")
    return [decisive_prompt(model, dice, length, count) for length in (dice.randint(1, 4), dice.randint(12, 40))]


# ---- evaluation

@dataclasses.dataclass
class Evaluation:
    loss: float
    logits: torch.Tensor  # [predictions, V]
    targets: torch.Tensor  # [predictions]
    gradients: dict  # of the mean loss, by published name


def evaluate(model, texts, window):
    """Mean loss over all predictions of the documents, its gradients, and all logits in order."""
    model.zero_grad(set_to_none=True)
    pieces = [piece for ids in texts for piece in windows(ids, window)]
    targets = torch.tensor([target for _, goal in pieces for target in goal])
    logits, loss = [], 0.0
    for inputs, goal in pieces:
        out = model(input_ids=torch.tensor([inputs]), use_cache=False).logits[0]
        nats = torch.nn.functional.cross_entropy(out.double(), torch.tensor(goal), reduction="sum") / len(targets)
        nats.backward()
        logits.append(out.detach())
        loss += nats.item()
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
    return Evaluation(loss, torch.cat(logits), targets, files.split_experts(gradients))


def evaluate_in_double(model, texts, window):
    with casts_to_double():
        return evaluate(model, texts, window)
