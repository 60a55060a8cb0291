"""Prints what a quickstart run reached: the sample, a short table, where things are, what to try next.

usage: summary.py --run RUN --model STEP_DIRECTORY --results FOLDER --prompt TEXT
FOLDER holds eval.json, compressors.json and sample.json, as `dsmoe` and scripts/compressors print them.
"""

import argparse
import json
import pathlib
import textwrap


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def last_line(path):
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return json.loads(file.read().splitlines()[-1])


def sample_text(prompt, sample):
    lines = (prompt + sample["text"]).splitlines()
    return "\n".join(textwrap.fill(line, 96, initial_indent="    ", subsequent_indent="    ") for line in lines)


def beside(value, other):
    """How far value lies below (or above) other."""
    share = 100 * (value / other - 1)
    return f"{abs(share):.1f} % {'below' if share < 0 else 'above'}"


def rows(last, result, compressors, run, model):
    reached = result["bits_per_byte"]
    yield "tokens seen", f"{last['tokens']:,}"
    yield "held-out bits per byte", f"{reached:.3f}   (perplexity {result['perplexity']:.2f} per token)"
    for name in ("gzip", "xz"):
        yield f"  {name} -9, same text", f"{compressors[name]:.3f}   (the model is {beside(reached, compressors[name])})"
    yield "tokens/s", f"{last['tokens_per_second']:,.0f}"
    load = last["load"]
    yield "load balance", f"MaxVio {load['max_vio']:.2f}, dead experts {load['dead']:.0f}   (0 and 0: perfectly even)"
    yield "checkpoint", f"{model}/model   (opens in transformers as it is)"
    yield "metrics", f"{run}/metrics.jsonl, TensorBoard files in {run}/tb"


def next_steps(model):
    return [
        ("more text", f'build/release/dsmoe generate --model {model} --prompt "Moonquake " --max-tokens 200'),
        ("the hour-long recipe", "mpirun -np 2 build/release/dsmoe train configs/pretrain/webster.yaml"),
        ("other losses", "... train configs/pretrain/quickstart.yaml run.name=no_balance balance.expert=0"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "model", "results"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--prompt", required=True)
    options = parser.parse_args()
    last = last_line(options.run / "metrics.jsonl")
    results = {name: read(options.results / f"{name}.json") for name in ("eval", "compressors", "sample")}
    print(sample_text(options.prompt, results["sample"]), end="\n\n")
    for name, value in rows(last, results["eval"], results["compressors"], options.run, options.model):
        print(f"{name:24}{value}")
    print("\nWhat to try next")
    for name, command in next_steps(options.model):
        print(f"  {name:22}{command}")


if __name__ == "__main__":
    main()
