"""What can be asked without training: dry runs of the recipes, inspect, help."""
import unittest
import xml.etree.ElementTree

from support import ROOT, CliTest, files_below

VERBS = ("train", "eval", "generate", "inspect", "bench")


def recipes(folder):
    return sorted((ROOT / "configs" / folder).glob("*.yaml"))


class DryRunTest(CliTest):

    def setUp(self):
        super().setUp()
        self.work, self.folder = self.folder, ROOT  # presets are found from the repository's root

    def dry_run(self, recipe, *overrides, **options):
        before = files_below(self.work)
        result = self.succeed("train", recipe, f"run.directory={self.work}/runs", "--dry-run", *overrides,
                              **options)
        self.assertEqual(files_below(self.work), before)
        self.assertFalse((self.work / "runs").exists())
        return result

    def test_every_pretraining_recipe_is_shown_without_a_trace(self):
        for recipe in recipes("pretrain"):
            with self.subTest(recipe.name):
                text = self.dry_run(recipe, ranks=2).out
                for expected in ("n_routed_experts: ", "parameters", "memory per rank", "rows per step"):
                    self.assertEqual(text.count(expected), 1, expected)
                self.dry_run(recipe, "parallel.expert=1")

    def test_every_bench_recipe_is_shown_without_a_trace(self):
        for recipe in recipes("bench"):
            with self.subTest(recipe.name):
                self.assertIn("parameters", self.dry_run(recipe, "data.train=[{path: none.jsonl}]").out)

    def test_a_dry_run_gives_one_json_object(self):
        for ranks, expert in ((0, 1), (2, 2)):
            json = self.dry_run(ROOT / "configs/pretrain/quickstart.yaml", "--json",
                                f"parallel.expert={expert}", ranks=ranks).json()
            self.assertGreater(json["parameters"]["total"], json["parameters"]["active"])
            self.assertEqual(json["length"], {"steps": 320, "tokens": 320 * 32 * 256})
            parts = sum(value for key, value in json["memory"].items() if key != "total")
            self.assertEqual(json["memory"]["total"], parts)
            self.assertEqual(json["communication"]["row_bytes_per_step"] == 0, ranks == 0)
            self.assertIn(f"expert: {expert}", json["config"])

    def test_the_resolved_configuration_reads_back_the_same(self):
        text = self.dry_run(ROOT / "configs/pretrain/quickstart.yaml", "--json", "parallel.expert=1").json()
        path = self.work / "again.yaml"
        path.write_text(text["config"])
        again = self.succeed("train", path, "--dry-run", "--json").json()
        self.assertEqual(again, text)

    def schedule(self, *arguments):
        return self.succeed("inspect", "--schedule", *arguments)

    def test_a_schedule_is_drawn_as_text_picture_and_numbers(self):
        text = self.schedule("zb_h1", "--stages", 2, "--micro-batches", 4).out
        self.assertIn("stage 0  | F0 F1 .  B0 W0 F2 B1 W1 F3 B2 W2 B3 W3\n"
                      "stage 1  | .  F0 B0 F1 B1 W0 F2 B2 W1 F3 B3 W2 W3\n"
                      "idle 1 of 13 (7.7 %) on each stage, published: 1\n", text)
        less = self.schedule("zb_h1", "--stages", 4, "--micro-batches", 8, "--put-off", 0.5, "--json").json()
        self.assertEqual((less["idle"], less["published_bubble"], less["live_activations"]), (5, None, [4, 3, 2, 2]))
        picture = self.work / "schedule.svg"
        numbers = self.schedule("interleaved", "--stages", 2, "--micro-batches", 4, "--chunks", 2, "--json",
                                "--svg", picture).json()
        self.assertEqual(numbers["live_activations"], [5, 3])
        self.assertEqual(numbers["idle"], numbers["published_bubble"])
        drawn = xml.etree.ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text")
        passes = [text.text for text in drawn if text.get("class") == "label"]
        self.assertEqual(sorted(passes), sorted([f"{p}{i}{c}" for p in "FB" for i in range(4) for c in "ab"] * 2))

    def test_a_schedule_that_is_not_there_is_refused(self):
        for arguments, pattern in {("zb",): "no pipeline schedule `zb`", ("1f1b", "--chunks", 2): "1 chunk a stage",
                                   ("1f1b", "--put-off", 0.5): "puts nothing off",
                                   ("zb_h1", "--put-off", 2): "0 to 1",
                                   ("interleaved", "--chunks", 2, "--micro-batches", 6): "multiple"}.items():
            result = self.dsmoe("inspect", "--schedule", *arguments)
            self.assertEqual(result.code, 2, result)
            self.assertIn(pattern, result.err)
        self.assertIn("no target", self.dsmoe("inspect").err)
        alone = self.dsmoe("inspect", ROOT / "configs/models/tiny.yaml", "--stages", 3)
        self.assertEqual(alone.code, 2, alone)
        self.assertIn("hint: give --schedule KIND", alone.err)

    def inspect(self, target, *overrides):
        return self.succeed("inspect", target, "--json", *overrides).json()

    def test_inspect_gives_the_published_sizes(self):
        published = {
            "v2": ((235_741_434_880, 21_375_800_320, 20_851_512_320, 20_327_224_320), 34_560),
            "v2_lite": ((15_706_484_224, 2_661_150_208, 2_451_435_008, 2_241_719_808), 15_552)}
        keys = ("total", "active", "active_without_input_embedding", "active_without_embeddings")
        for name, (parameters, cache) in published.items():
            json = self.inspect(ROOT / f"configs/models/{name}.yaml")
            self.assertEqual(tuple(json["parameters"][key] for key in keys), parameters, name)
            self.assertEqual(json["kv_cache"]["elements_per_token"], cache)
            self.assertEqual(json["hf_class"], "deepseek_v2")
            flops = json["flops_per_token"]
            self.assertGreater(flops["training"], 2 * flops["forward"])

    def test_inspect_takes_overrides_and_shows_a_table(self):
        less = self.inspect(ROOT / "configs/models/tiny.yaml", "model.num_hidden_layers=2")
        more = self.inspect(ROOT / "configs/models/tiny.yaml")
        self.assertLess(less["parameters"]["total"], more["parameters"]["total"])
        table = self.succeed("inspect", ROOT / "configs/models/v2.yaml").out
        self.assertIn("235,741,434,880", table)

    def test_help_is_given_for_everything(self):
        for verb in VERBS:
            text = self.succeed(verb, "--help").out
            self.assertIn("--help", text, verb)
            self.assertIn(verb, self.succeed("--help").out)
        reference = self.succeed("--help-config").out
        for key in ("model.topk_group", "balance.communication", "checkpoint.permanent_every"):
            self.assertIn(key, reference)


if __name__ == "__main__":
    unittest.main()
