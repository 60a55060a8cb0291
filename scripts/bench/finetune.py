#!/usr/bin/env python3
"""Times the same fine-tuning steps in dsmoe and in transformers (with peft), and prints one JSON object.

A step is forward, loss on the answers, backward, clipping and AdamW (in transformers fused) over all conversations:
in dsmoe whole in rows of 256 tokens, in transformers sorted by length and right-padded, 1 or 8 at a time, in SDPA
with eager or grouped_mm experts. Every variant is a process of its own; they and short runs of dsmoe take turns, one
step each. The best and the median step count, and transformers' fastest variant. Tokens are those of the conversations
without padding; peaks are ru_maxrss. The losses say that both compute the same; tests/parity looks more closely.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

# This folder must not answer `import transformers`.
sys.path.pop(0)
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/parity", "tests/cli", "scripts/lib")]
import python_packages

python_packages.require("torch", "transformers", "peft", "yaml")
import finetune_oracle
import oracle
from support import sentence

LENGTH, COUNT = 256, 32
SHAPE = {"hidden_size": 256, "intermediate_size": 704, "moe_intermediate_size": 128, "num_hidden_layers": 4,
         "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 128, "kv_lora_rank": 64,
         "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32}
MODEL = dataclasses.replace(finetune_oracle.MODEL, name="v2-bench", config=finetune_oracle.MODEL.config | SHAPE)
VARIANTS = [f"{experts}+{size}" for experts in ("eager", "grouped_mm") for size in (1, 8)]
RECIPE = finetune_oracle.Recipe(lr=1e-3, steps=2)  # dsmoe's first step warms it up
KEYS = {"full": [], "lora": [
    "finetune.method=lora", "finetune.lora.init_from=adapter", f"finetune.lora.rank={finetune_oracle.RANK}",
    f"finetune.lora.alpha={finetune_oracle.ALPHA}",
    "finetune.lora.target=[attention, dense, shared_experts, routed_experts, head]"]}


def conversations():
    return finetune_oracle.conversations(MODEL.name, COUNT, LENGTH + 1, sentence)


def encoded():
    """The longest first, so that little is padding."""
    return sorted(map(finetune_oracle.encode, conversations()), key=lambda sample: -len(sample.ids))


def prepare(folder, options):
    """Model, adapter, conversations and dsmoe's configuration, which is YAML because JSON is."""
    oracle.save(MODEL, folder / "model")
    if options.method == "lora":
        finetune_oracle.save_adapter(MODEL, folder / "adapter")
    lines = (json.dumps({"messages": messages}) + "\n" for messages in conversations())
    (folder / "chat.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "config.yaml").write_text(json.dumps({
        "run": {"directory": "runs", "threads": options.threads},
        "model": {"init_from": "model"},
        "data": {"tokenizer": "byte", "sequence_length": LENGTH, "train": [{"path": "chat.jsonl"}]},
        "batch": {"sequences": 1, "micro_sequences": 1},
        "optimizer": {"lr": RECIPE.lr, "weight_decay": RECIPE.weight_decay},
        "schedule": {"kind": "constant", "steps": RECIPE.steps}}), encoding="utf-8")


def environment(options):
    return os.environ | {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}


class Dsmoe:
    """Short runs from the same weights, each of a name of its own."""

    def __init__(self, folder, options):
        self.folder, self.options, self.runs = folder, options, 0
        self.run("schedule.steps=1")
        rows = re.search(rf"rows +(\d+) of {LENGTH}", (self.directory() / "log.txt").read_text(encoding="utf-8"))[1]
        self.batch = [f"batch.sequences={rows}", f"batch.micro_sequences={options.micro_sequences}"]

    def directory(self):
        return self.folder / f"runs/{self.runs}"

    def run(self, *keys):
        """The metrics of its steps, and its peak."""
        self.runs += 1
        command = [self.options.dsmoe, "finetune", "config.yaml", f"run.name={self.runs}", *keys,
                   *KEYS[self.options.method]]
        with open(self.folder / "dsmoe.log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment(self.options), stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            if process.returncode != 0:
                sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{log.read()[-2000:]}")
        lines = (self.directory() / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) | {"peak_bytes": usage.ru_maxrss * 1024} for line in lines]

    def step(self):
        """The last of a run's, which is warm."""
        return self.run(*self.batch)[-1]


class Variant:
    """A variant of transformers in a process, which makes a step for each line that it is sent."""

    def __init__(self, name, folder, options):
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), *sys.argv[1:], "--variant", name]
        self.process = subprocess.Popen(command, cwd=folder, env=environment(options), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit("a variant ended: its message stands above")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def worker(options):
    import torch

    experts, size = options.variant.split("+")
    torch.set_num_threads(options.threads)
    samples = encoded()
    adapter = "adapter" if options.method == "lora" else None
    with finetune_oracle.opened("model", adapter=adapter, attn_implementation="sdpa",
                                experts_implementation=experts) as model:
        training = finetune_oracle.Training(model, RECIPE, fused=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            loss = training.step(samples, int(size)).loss
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "loss": loss, "peak_bytes": peak}), flush=True)


def measure(folder, options):
    """{program: its steps}, a step a turn, after RECIPE.steps of each, whose last must have dsmoe's loss."""
    dsmoe = Dsmoe(folder, options)
    variants = {name: Variant(name, folder, options) for name in options.variants.split(",")}
    warm = {"dsmoe": dsmoe.step()}
    for name, variant in variants.items():
        warm[name] = [variant.step() for _ in range(RECIPE.steps)][-1]
    turns = [{name: program.step() for name, program in ({"dsmoe": dsmoe} | variants).items()}
             for _ in range(options.turns)]
    for variant in variants.values():
        variant.close()
    return {name: step["loss"] for name, step in warm.items()}, {name: [turn[name] for turn in turns] for name in warm}


def summary(steps, loss):
    tokens = sum(len(sample.ids) - 1 for sample in encoded())
    seconds = [step["seconds"] for step in steps]
    return {"seconds": min(seconds), "seconds_median": statistics.median(seconds),
            "tokens_per_second": tokens / min(seconds), "peak_bytes": max(step["peak_bytes"] for step in steps),
            f"loss_of_step_{RECIPE.steps}": loss}


def report(losses, steps, options):
    programs = {name: summary(some, losses[name]) for name, some in steps.items()}
    ours, theirs = programs["dsmoe"], {name: found for name, found in programs.items() if name != "dsmoe"}
    ours["memory_bytes"] = max(step["memory_bytes"] for step in steps["dsmoe"])
    ours["row_tokens_per_second"] = max(step["tokens_per_second"] for step in steps["dsmoe"])
    fastest = min(theirs, key=lambda name: theirs[name]["seconds_median"])
    by_turn = sorted(their["seconds"] / our["seconds"] for our, their in zip(steps["dsmoe"], steps[fastest]))
    return {"method": options.method, "threads": options.threads, "conversations": COUNT, "turns": options.turns,
            "micro_sequences": options.micro_sequences, "load_average": os.getloadavg()[0], "programs": programs,
            "fastest_of_transformers": fastest,
            "ratios": {"tokens_per_second": theirs[fastest]["seconds"] / ours["seconds"],
                       "tokens_per_second_by_turn": {"median": statistics.median(by_turn), "least": by_turn[0],
                                                     "most": by_turn[-1]},
                       "peak_bytes": ours["peak_bytes"] / theirs[fastest]["peak_bytes"],
                       "peak_bytes_to_leanest": ours["peak_bytes"] / min(their["peak_bytes"]
                                                                         for their in theirs.values())}}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsmoe", type=lambda path: str(pathlib.Path(path).resolve()),
                        default=str(ROOT / "build/release/dsmoe"))
    parser.add_argument("--method", choices=KEYS, default="full")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="default: %(default)s")
    parser.add_argument("--micro-sequences", type=int, default=4, help="rows that dsmoe computes at a time (default 4)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    if options.variant:
        return worker(options)
    with tempfile.TemporaryDirectory(prefix="dsmoe-bench-") as folder:
        prepare(pathlib.Path(folder), options)
        print(json.dumps(report(*measure(pathlib.Path(folder), options), options), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
