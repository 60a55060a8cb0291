"""What dsmoe imports and exports again is, tensor by tensor, what it read; and transformers opens it."""
import dataclasses
import os
import pathlib
import sys
import unittest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors import safe_open

import compare
import draw
import files
import oracle

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from support import CliTest

BIAS = "e_score_correction_bias"
SHARD = 20_000  # bytes
# Group-limited and greedy, with and without a compressed query; YaRN in the odd ones; V3's router.
SOURCES = ("v2-10", "v2-17", "v2-23", "v3-07", "v3-13")
ONE, V3 = "v2-23", "v3-07"


def plain(name, **changes):
    """A drawn model in transformers' own layout and spelling."""
    return dataclasses.replace(draw.draw(name), **{"layout": "per_expert", "spelling": "transformers"} | changes)


def value_of(config, key):
    """No groups are one group."""
    return getattr(config, key) or (1 if key in ("n_group", "topk_group") else getattr(config, key))


def as_bfloat16(tensors):
    return {name: tensor if name.endswith(BIAS) else tensor.bfloat16() for name, tensor in tensors.items()}


class ExportTest(CliTest):

    def source(self, name, **changes):
        directory = self.folder / f"{name}-source"
        oracle.save(plain(name, **changes), directory)
        return directory

    def source_in(self, name, dtype):
        """The same model as transformers publishes it in another dtype."""
        directory = self.folder / f"{name}-{dtype}"
        oracle.load(self.source(name), dtype=dtype)[0].save_pretrained(directory)
        return directory

    def export(self, source, *options, dtype="fp32"):
        out = self.folder / f"out-{len(list(self.folder.iterdir()))}"
        self.succeed("export", source, out, "--dtype", dtype, *options)
        return out

    def refused(self, source):
        result = self.dsmoe("export", source, self.folder / "refused", "--dtype", "fp32")
        self.assertEqual(result.code, 2, result)
        return result.err

    def same_tensors(self, ours, theirs):
        lines = compare.bitwise_complaints(ours, theirs)
        self.assertEqual(lines, [], "\n" + "\n".join(lines[:10]))

    @torch.no_grad()
    def same_model(self, ours, theirs):
        """Class, configuration and logits as transformers reads them; no tensor missing or left over."""
        (a, report), (b, _) = oracle.load(ours), oracle.load(theirs)
        self.assertEqual([names for names in report.values() if names], [])
        self.assertEqual(type(a), type(b))
        self.assertEqual(a.config.to_dict()["model_type"], b.config.to_dict()["model_type"])
        ids = torch.arange(100)[None] % b.config.vocab_size
        self.assertTrue(torch.equal(a(ids).logits, b(ids).logits), "logits differ")
        return a.config, b.config

    def test_float32_comes_back_bit_for_bit(self):
        for name in SOURCES:
            with self.subTest(name):
                source = self.source(name)
                self.same_tensors(files.read_tensors(self.export(source)), files.read_tensors(source))

    def test_bfloat16_comes_back_bit_for_bit(self):
        for name in SOURCES:
            with self.subTest(name):
                source = self.source_in(name, torch.bfloat16)
                theirs = files.read_tensors(source)
                self.assertEqual({t.dtype for n, t in theirs.items() if not n.endswith(BIAS)}, {torch.bfloat16})
                out = self.export(source, dtype="bf16")
                self.same_tensors(files.read_tensors(out), theirs)
                self.same_model(out, source)

    def test_float32_is_rounded_to_bfloat16_but_for_the_bias(self):
        for name in (ONE, V3):
            source = self.source(name)
            self.same_tensors(files.read_tensors(self.export(source, dtype="bf16")),
                              as_bfloat16(files.read_tensors(source)))

    def test_float16_is_read(self):
        source = self.source_in(ONE, torch.float16)
        theirs = files.read_tensors(source)
        self.assertEqual({tensor.dtype for tensor in theirs.values()}, {torch.float16})
        self.same_tensors(files.read_tensors(self.export(source)),
                          {name: tensor.float() for name, tensor in theirs.items()})

    def test_fused_experts_come_out_one_by_one(self):
        for name in (ONE, V3):
            source = self.source(name)
            theirs = files.read_tensors(source)
            files.save_fused(source)
            self.assertNotEqual(files.read_tensors(source).keys(), theirs.keys())
            self.same_tensors(files.read_tensors(self.export(source)), theirs)

    def test_transformers_opens_what_was_exported_and_computes_the_same(self):
        for name in SOURCES:
            with self.subTest(name):
                source = self.source(name)
                ours, theirs = self.same_model(self.export(source), source)
                for key in plain(name).config.keys() - {"rope_parameters"}:
                    self.assertEqual(value_of(ours, key), value_of(theirs, key), key)

    def test_shards_in_one_file_out(self):
        source = self.source(ONE, layout="sharded")
        self.assertGreater(len(set(files.weight_files(source).values())), 3)
        out = self.export(source)
        self.assertEqual([path.name for path in out.glob("*.safetensors")], ["model.safetensors"])
        self.assertFalse((out / files.INDEX).exists())
        self.same_tensors(files.read_tensors(out), files.read_tensors(source))

    def test_shards_are_as_large_as_asked_and_the_index_holds(self):
        for name in (ONE, V3):
            source = self.source(name)
            out = self.export(source, "--max-shard-size", f"{SHARD // 1000}KB")
            self.check_index(out)
            self.same_tensors(files.read_tensors(out), files.read_tensors(source))
            self.same_model(out, source)

    def check_index(self, directory):
        index = files.read_index(directory)
        shards = sorted(path.name for path in directory.glob("*.safetensors"))
        self.assertGreater(len(shards), 3)
        self.assertEqual(shards, [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))])
        self.assertEqual(set(index["weight_map"].values()), set(shards))
        total = 0
        for shard in shards:
            with safe_open(directory / shard, "pt") as file:
                sizes = {name: file.get_tensor(name).nbytes for name in file.keys()}
            self.assertEqual(sizes.keys(), {name for name, place in index["weight_map"].items() if place == shard})
            self.assertTrue(sum(sizes.values()) <= SHARD or len(sizes) == 1, f"{shard}: {sizes}")
            total += sum(sizes.values())
        self.assertEqual(index["metadata"]["total_size"], total)

    def test_both_spellings_of_config_json_are_read_and_written(self):
        newer = self.source(ONE)
        older = files.copy_directory(newer, self.folder / "older")
        files.write_config(older, files.as_published(files.read_config(newer), "v2"))
        extra = {key: value for key, value in files.read_config(older).items()
                 if key in ("rope_scaling", "rope_theta", "torch_dtype")}
        both = files.copy_directory(newer, self.folder / "both", **extra)
        written = [files.read_config(self.export(source)) for source in (newer, older, both)]
        self.assertEqual(written[0], written[1])
        self.assertEqual(written[0], written[2])
        self.check_spellings(written[0], files.read_config(newer)["rope_parameters"])

    def check_spellings(self, config, rope):
        self.assertEqual(config["dtype"], "float32")
        self.assertEqual(config["torch_dtype"], "float32")
        self.assertEqual(config["rope_theta"], rope["rope_theta"])
        self.assertEqual(config["rope_scaling"]["type"], "yarn")
        for key, value in rope.items():
            self.assertEqual(config["rope_parameters"][key], value, key)
            if key != "rope_theta":
                self.assertEqual(config["rope_scaling"][key], value, key)

    def test_spellings_that_clash_are_the_users_mistake(self):
        source = self.source(ONE)
        rope = files.read_config(source)["rope_parameters"]
        clashes = {
            "rope_theta": {"rope_theta": rope["rope_theta"] * 2},
            "rope_scaling": {"rope_scaling": {"type": "yarn", "factor": rope["factor"] + 1,
                                              "original_max_position_embeddings": 16}},
            "torch_dtype": {"torch_dtype": "bfloat16"}}
        for key, change in clashes.items():
            with self.subTest(key):
                said = self.refused(files.copy_directory(source, self.folder / f"clash-{key}", **change))
                self.assertRegex(said, rf"\b{key}\b")
                self.assertRegex(said, r"\brope_parameters\b" if key != "torch_dtype" else r"\bdtype\b")

    def test_gready_is_read_and_written_as_greedy(self):
        source = self.source("v2-13")
        misspelt = files.copy_directory(source, self.folder / "misspelt", topk_method="gready")
        out = self.export(misspelt)
        self.assertEqual(files.read_config(out)["topk_method"], "greedy")
        self.same_model(out, source)

    def test_the_router_of_v3_needs_no_name(self):
        source = self.source(V3)
        self.assertNotIn("scoring_func", files.read_config(source))
        written = files.read_config(self.export(source))
        self.assertEqual((written["model_type"], written["scoring_func"], written["topk_method"]),
                         ("deepseek_v3", "sigmoid", "noaux_tc"))


if __name__ == "__main__":
    unittest.main()
