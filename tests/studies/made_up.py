"""A study's folder as scripts/ablate and dsmoe leave it, with made-up numbers: no program is run."""

import json
import pathlib
import sys

import numpy as np
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
from ablation import configuration

EXPERTS, DEVICES, CHOSEN, LAYERS, BATCH, DOMAINS = 16, 4, 4, (1, 2, 3), 4096, ("dictionary", "scripture", "code")
FACTORS = ("expert", "device", "communication")
VARIANTS = {"none": (0, 0, 0), "expert": (0.003, 0, 0), "device": (0, 0.05, 0), "communication": (0, 0, 0.02),
            "expert+device": (0.003, 0.05, 0), "all": (0.003, 0.05, 0.02)}


def config(factors, seed, steps):
    return {"run": {"name": f"seed-{seed}", "directory": "runs", "seed": seed, "threads": 1, "resume": "auto",
                    "allow_change": []},
            "model": {"n_routed_experts": EXPERTS, "n_group": DEVICES},
            "data": {"eval": [{"path": "held.jsonl", "name": "held"}], "sequence_length": 256},
            "batch": {"sequences": BATCH // 256}, "schedule": {"steps": steps, "tokens": 0},
            "balance": dict(zip(FACTORS, factors))}


def shares(dice, factors, progress):
    """How unevenly the experts are chosen: less so with larger factors, more so without any."""
    expert, device, _ = factors
    spread = 0.25 + progress * (1.0 - min(1.0, 0.25 * np.log1p(5e3 * expert)))
    lean = progress * (0.8 - min(0.75, 2 * np.log1p(10 * device)))
    groups = np.repeat(dice.normal(0, 1, (len(LAYERS), DEVICES)), EXPERTS // DEVICES, -1)
    odds = np.exp(spread * dice.normal(0, 1, (len(LAYERS), EXPERTS)) + lean * groups)
    return odds / odds.sum(-1, keepdims=True)


def violation(load):
    return float((load.max(-1) / load.mean(-1) - 1).mean())


def add_with_drop(record, factors, dice):
    """A little dearer than without."""
    for source in record.get("eval", {}).values():
        loss = source["loss"] + 0.02 + 0.001 * dice.normal()
        source |= {"drop_rate": 0.0, "with_drop": {
            "loss": loss, "perplexity": float(np.exp(loss)), "bits_per_byte": source["bits_per_byte"] + 0.03,
            "tokens": source["tokens"], "drop_rate": 0.07}}


def add_interference(record, factors, dice):
    """At every fifth step; without balance losses there is nothing to tell."""
    if record["step"] % 5 == 0:
        losses = sum(factor > 0 for factor in factors)
        told = {"ratio": 0.5 * losses + 0.1 * dice.normal(), "cosine": -0.1 * losses + 0.03 * dice.normal()}
        record["interference"] = told if losses else dict.fromkeys(told)


def add_specialisation(record, factors, dice):
    for source in record.get("eval", {}).values():
        source["specialisation"] = 0.3 - sum(factors) + 0.01 * dice.normal()


ALSO_TOLD = {"with_drop": add_with_drop, "interference": add_interference, "specialisation": add_specialisation}  # what only some runs tell


def line(step, steps, seed, factors, tokens_per_step):
    dice = np.random.default_rng((seed, step, *(int(1e4 * each) for each in factors)))
    seeded = np.random.default_rng(seed)
    load = shares(np.random.default_rng(seed), factors, step / steps) * dice.uniform(0.9, 1.1, (len(LAYERS), EXPERTS))
    loss = 1.9 + 3.6 * np.exp(-step / (0.12 * steps)) + 0.6 * sum(factors) + seeded.normal(0, 0.02)
    groups = load.reshape(len(LAYERS), DEVICES, -1).sum(-1)
    record = {
        "step": step, "tokens": step * tokens_per_step, "loss": float(loss + dice.normal(0, 0.03)),
        "loss_total": float(loss + 0.1), "grad_norm": 1.0, "lr": 1e-3, "seconds": 0.4,
        "tokens_per_second": float(dice.uniform(9500, 10500)), "balance": dict.fromkeys(FACTORS, 1.1),
        "load": {"max_vio": violation(load), "cv": float(load.std(-1).mean() * EXPERTS),
                 "dead": int((load < 2e-3).sum()), "device_vio": violation(groups),
                 "min_vio": 0.5, "avg_vio": 0.2, "entropy": 0.99, "starved": 0, "received_vio": 0.7 * violation(groups)},
        "router": {"entropy": 0.9, "topk_mass": 0.4},
        "drop": {"rate": float(0.3 * violation(groups)), "tokens": 0.1, "tokens_lost": 0.0, "mass": 0.05,
                 "protected": 0.1},
        "traffic": {"devices_per_token": float(1.9 - 2 * factors[2] + dice.normal(0, 0.01)), "ranks_per_token": 1.0,
                    "bytes": int(tokens_per_step * 900), "bytes_bound": 0, "metadata_bytes": 0},
        "skipped": False}
    if step % (steps // 4) == 0:
        held = float(loss + 0.05 + dice.normal(0, 0.004))
        record["eval"] = {"held": {"loss": held, "perplexity": float(np.exp(held)),
                                   "bits_per_byte": held / np.log(2) * 1.02, "tokens": 20000}}
    return record


def write_routing(folder, seed, factors, steps):
    from safetensors.numpy import save_file

    folder.mkdir()
    pairs = BATCH * CHOSEN
    for step in range(steps // 20, steps + 1, steps // 20):
        load = np.rint(pairs * shares(np.random.default_rng(seed), factors, step / steps)).astype(np.int64)
        tilt = np.random.default_rng(seed + 100).uniform(0.4, 1.6, (len(DOMAINS), len(LAYERS), EXPERTS))
        alone = 0.2 + 2 * factors[2]
        visits = np.tile(np.rint(BATCH * np.array([0, alone, 1 - alone, 0, 0])), (len(LAYERS), 1))
        save_file({"load": load, "received": load.reshape(len(LAYERS), DEVICES, -1).max(-1),
                   "devices_per_token": visits.astype(np.int64),
                   "domain_load": np.rint(load * tilt / len(DOMAINS)).astype(np.int64)},
                  folder / f"step-{step:08}.safetensors",
                  metadata={"layers": json.dumps(LAYERS), "domains": json.dumps(DOMAINS)})


def write_run(folder, seed, factors, steps, routing, told):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(factors, seed, steps)))
    lines = [line(step, steps, seed, factors, BATCH) for step in range(1, steps + 1)]
    for record in lines:
        for name in told:
            ALSO_TOLD[name](record, factors, np.random.default_rng((seed, record["step"])))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (folder / "DONE").touch()
    if routing:
        write_routing(folder / "routing", seed, factors, steps)
        floor = {"max_vio": 0.06, "cv": 0.03, "device_vio": 0.02, "dead": 0.0}
        (folder / "noise_floor.json").write_text(json.dumps(floor))


def write_study(directory, variants=None, seeds=(1, 2, 3), steps=200, routing=True, told=None):
    """told: {variant: names of ALSO_TOLD}. Returns study.json's content; change it and save it again to make a study
    that is wrong."""
    variants = variants or VARIANTS
    study = {"name": "made-up", "question": "Which balance loss evens the load, and what does it cost?",
             "base": "base.yaml", "baseline": next(iter(variants)), "seeds": list(seeds), "ranks": 1,
             "git": "v0", "processor": "made up", "cores": 2, "versions": {"python": "3"}, "variants": {}, "runs": []}
    for name, factors in variants.items():
        flat = configuration.flatten(config(factors, seeds[0], steps))
        study["variants"][name] = {"settings": {}, "parameters": {"total": 2_000_000, "active": 500_000},
                                   "config": configuration.essence(flat)}
        for seed in seeds:
            folder = f"{name}/seed-{seed}"
            write_run(directory / folder, seed, factors, steps, routing, (told or {}).get(name, ()))
            flat = configuration.flatten(config(factors, seed, steps))
            study["runs"].append({"variant": name, "seed": seed, "folder": folder, "hash": configuration.digest(flat),
                                  "command": ["dsmoe", "train", "base.yaml"]})
    save(directory, study)
    return study


def save(directory, study):
    (directory / "study.json").write_text(json.dumps(study))


if __name__ == "__main__":
    write_study(pathlib.Path(sys.argv[1]), steps=400)
