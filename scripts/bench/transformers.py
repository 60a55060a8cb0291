#!/usr/bin/env python3
"""Times training steps of transformers' DeepseekV2ForCausalLM on the shape of a dsmoe configuration.

A step is forward, cross-entropy, backward, clip_grad_norm_ and fused AdamW on one fixed random batch of
batch.sequences x data.sequence_length tokens. Every variant (attention x experts implementation) runs in
a process of its own, so that its peak memory is its own; the processes take turns, one step each, and
each variant's best and median step are reported. The roof is the best 2048^3 `at::matmul` in the step's
dtype, measured between the same turns. Model FLOPs: causal, training = 3 x forward.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import shape

# This folder must not answer `import transformers`.
sys.path.pop(0)

VARIANTS = [f"{attention}+{experts}" for attention in ("eager", "sdpa") for experts in ("eager", "grouped_mm")]
ROOF_SIZE = 2048


def build_model(options, model_config):
    import torch
    from transformers import AutoModelForCausalLM, DeepseekV2ForCausalLM

    attention, experts = options.variant.split("+")
    torch.manual_seed(options.seed)
    if options.init_from:
        model = AutoModelForCausalLM.from_pretrained(options.init_from, dtype=torch.float32)
    else:
        model = DeepseekV2ForCausalLM(shape.hf_config(model_config)).float()
    model.config.use_cache = False
    model.set_attn_implementation(attention)
    model.set_experts_implementation(experts)
    return model.to(torch.bfloat16) if options.dtype == "bf16" else model


class Step:
    """One variant's model, optimizer and batch; calling it makes one training step."""

    def __init__(self, options):
        import torch

        config = shape.read_config(options.config)
        self.torch, self.autocast = torch, options.dtype == "autocast"
        self.model = build_model(options, config["model"]).train()
        generator = torch.Generator().manual_seed(options.seed)
        rows, columns = config["batch"]["sequences"], config["data"]["sequence_length"] + 1
        self.tokens = torch.randint(self.model.config.vocab_size, (rows, columns), generator=generator)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1,
                                           fused=True)

    def loss(self):
        functional = self.torch.nn.functional
        logits = self.model(input_ids=self.tokens[:, :-1]).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), self.tokens[:, 1:].flatten())

    def __call__(self):
        start = time.perf_counter()
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.autocast):
            loss = self.loss()
        loss.backward()
        norm = self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": loss.item(), "grad_norm": norm.item(), "seconds": time.perf_counter() - start}


def matmul_seconds(dtype):
    import torch

    a, b = (torch.randn(ROOF_SIZE, ROOF_SIZE, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        torch.matmul(a, b)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_bytes():
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def worker(options):
    """Answers one JSON line to each line read: `step` makes a step, `roof` times the matmul."""
    import torch

    torch.set_num_threads(options.threads)
    dtype = torch.float32 if options.dtype == "fp32" else torch.bfloat16
    step = None if options.variant == "roof" else Step(options)
    if step and options.save_model:
        step.model.save_pretrained(options.save_model)
    for line in sys.stdin:
        answer = step() if line.strip() == "step" else {"seconds": matmul_seconds(dtype)}
        print(json.dumps({**answer, "peak_bytes": peak_bytes()}), flush=True)


class Worker:
    """A variant's process. A variant that fails answers None from then on; `error` is its last line."""

    def __init__(self, variant, options, extra=()):
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant, *extra]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
        self.errors = open(pathlib.Path(options.log) / f"{variant}.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=environment)
        self.error = None

    def ask(self, question):
        if self.error:
            return None
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            self.errors.seek(0)
            self.error = (self.errors.read().strip().splitlines() or ["ended without a message"])[-1]
            return None

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()


def measure(options):
    """Warm-up steps, then one step of each variant and one roof per turn. Returns answers by variant."""
    saving = ["--save-model", options.save_model] if options.save_model else []
    workers = {}
    for index, variant in enumerate(options.variants.split(",")):
        workers[variant] = Worker(variant, options, saving if index == 0 else ["--save-model", ""])
    workers["roof"] = Worker("roof", options)
    answers = {variant: [] for variant in workers}
    for turn in range(options.warm_up + options.steps):
        for variant, process in workers.items():
            answer = process.ask("roof" if variant == "roof" else "step")
            if answer and turn >= options.warm_up:
                answers[variant].append(answer)
    for process in workers.values():
        process.close()
    return answers, {variant: process.error for variant, process in workers.items() if process.error}


def report(options, answers, errors):
    config = shape.read_config(options.config)
    length = config["data"]["sequence_length"]
    tokens = config["batch"]["sequences"] * length
    flops = 3 * shape.forward_flops(config["model"], length) * tokens
    roof = 2 * ROOF_SIZE**3 / min(answer["seconds"] for answer in answers.pop("roof"))
    result = {"config": options.config, "dtype": options.dtype, "threads": options.threads, "steps": options.steps,
              "tokens_per_step": tokens, "flops_per_step": flops, "roof_flops_per_second": roof,
              "load_average": os.getloadavg()[0], "variants": {}}
    for variant, steps in answers.items():
        if not steps:
            result["variants"][variant] = {"error": errors.get(variant, "no step")}
            continue
        seconds = [step["seconds"] for step in steps]
        best = min(seconds)
        result["variants"][variant] = {
            "seconds": best, "seconds_median": statistics.median(seconds), "tokens_per_second": tokens / best,
            "flops_per_second": flops / best, "share_of_roof": flops / best / roof,
            "peak_bytes": max(step["peak_bytes"] for step in steps), "loss": steps[-1]["loss"],
            "grad_norm": steps[-1]["grad_norm"]}
    return result


def print_table(result):
    print(f"{result['config']}: {result['tokens_per_step']} tokens, {result['flops_per_step'] / 1e9:.1f} GFLOP a step, "
          f"{result['dtype']}, {result['threads']} threads, best of {result['steps']} steps, "
          f"load average {result['load_average']:.1f}")
    print(f"roof: matmul {ROOF_SIZE}^3 {result['roof_flops_per_second'] / 1e9:.1f} GFLOP/s\n")
    print(f"{'attention+experts':20}{'ms':>9}{'median':>9}{'tokens/s':>10}{'GFLOP/s':>9}{'of roof':>9}{'peak MiB':>10}"
          f"{'loss':>9}")
    for variant, row in result["variants"].items():
        if "error" in row:
            print(f"{variant:20}failed: {row['error']}")
            continue
        print(f"{variant:20}{1e3 * row['seconds']:9.1f}{1e3 * row['seconds_median']:9.1f}"
              f"{row['tokens_per_second']:10.0f}{row['flops_per_second'] / 1e9:9.1f}{row['share_of_roof']:9.1%}"
              f"{row['peak_bytes'] / 2**20:10.0f}{row['loss']:9.4f}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="configs/bench/{a,b,c,d}.yaml")
    parser.add_argument("--dtype", choices=("fp32", "bf16", "autocast"), default="fp32",
                        help="bf16: weights, moments and compute; autocast: fp32 weights, bf16 compute")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default 5)")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--init-from", help="a model directory; random weights otherwise")
    parser.add_argument("--save-model", default="", help="writes the initial weights there, for the other program")
    parser.add_argument("--log", default="build/bench", help="folder of the processes' messages")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    if options.variant:
        return worker(options)
    pathlib.Path(options.log).mkdir(parents=True, exist_ok=True)
    result = report(options, *measure(options))
    if options.json:
        print(json.dumps(result))
    else:
        print_table(result)
    return 0 if any("seconds" in row for row in result["variants"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
