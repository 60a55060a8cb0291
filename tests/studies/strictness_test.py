"""What is wrong in a study file is told with its line, all at once, with exit code 2."""

import pathlib
import types
import unittest

from studies import STUDY, StudyTest, script

from ablation import plan
from ablation.errors import BadInput


class StrictnessTest(StudyTest):

    def refused(self, *words, **changes):
        self.write_study(**changes)
        self.assert_refused(self.ablate("--dry-run"), *words)

    def refused_text(self, text, *words):
        (self.folder / "study.yaml").write_text(text)
        self.assert_refused(self.ablate("--dry-run"), *words)

    def test_keys_are_known_and_stand_once(self):
        self.refused("study.yaml:", "seed: unknown key, did you mean seeds?", "seeds is missing", seeds=None, seed=[1])
        self.refused_text("name: a\nname: b\n", "study.yaml:2: name stands twice, first in line 1")
        self.refused_text("variants:\n  a: {}\n  b: {}\n  a: {}\n", "study.yaml:4: a stands twice, first in line 2")
        self.refused_text("variants:\n  a: {balance.expert: 1,\n      balance.expert: 2}\n",
                          "study.yaml:3: balance.expert stands twice, first in line 2")
        self.refused_text("- 1\n", "study.yaml:1: a study is a map")
        self.refused_text("name: [\n", "study.yaml:2: not YAML")

    def test_all_mistakes_are_told_at_once(self):
        self.refused("seeds: 1 stands twice", "seeds: must be an integer >= 0, not x", "ranks: must be an integer >= 1",
                     "baseline: there is no variant non, did you mean none?", "base: no file bas.yaml; tried bas.yaml",
                     "name: letters, digits", seeds=[1, 1, "x"], ranks=0, baseline="non", base="bas.yaml", name="a/b")

    def test_what_the_study_sets_is_not_a_variant_s_to_set(self):
        self.refused("run.seed: is set by the study's own seeds", "run.resume: cannot be part of a study",
                     "expert: must be a dotted key",
                     variants={"none": {"run.seed": 3, "run.resume": "never", "expert": 1}})
        self.refused("drop.capacity is also an axis of the grid", grid={"drop.capacity": [1, 2]},
                     variants={"none": {"drop.capacity": 1}})

    def test_dsmoe_s_complaints_carry_the_study_s_line(self):
        self.refused_text("name: a\nquestion: b\nbase: base.yaml\nseeds: [1]\nbaseline: none\nvariants:\n  none:\n"
                          "    balance.exprt: 1\n    balance.device: -1\n",
                          "study.yaml:8: variant none: balance.exprt: unknown key, did you mean balance.expert?",
                          "study.yaml:9: variant none: balance.device: must be >= 0.0, not -1")

    def test_variants_that_cannot_be_compared_are_refused(self):
        self.refused("none trains on 1,536 tokens, long on 2,048", "study.yaml:",
                     variants={"none": {}, "long": {"schedule.steps": 8}})
        self.refused("none and other are evaluated differently: eval.batches is 1 and 2",
                     variants={"none": {}, "other": {"eval.batches": 2}})
        self.refused("variants none and same are the same configuration", variants={"none": {}, "same": None})
        self.write_base(data={"eval": []})
        self.refused("data.eval names no held-out text")

    def test_the_loss_without_dropping_is_compared_with_its_like(self):
        base = {"data.eval": ["held"], "data.tokenizer": "byte", "data.sequence_length": 32, "eval.batches": 1}

        def check(*values):
            points = [types.SimpleNamespace(name=str(value), line=1) for value in values]
            runs = [types.SimpleNamespace(variant=str(value), tokens=1, config=base | {"eval.drop": value})
                    for value in values]
            plan.check_comparable(types.SimpleNamespace(path=pathlib.Path("study.yaml"), points=points), runs)

        for alike in ((False, "both"), ("both", False), ("both", "both"), (True, True)):
            check(*alike)
        for apart in ((False, True), (True, False), ("both", True), (True, "both")):
            with self.assertRaisesRegex(BadInput, "evaluated differently: eval.drop is {} and {}".format(*apart)):
                check(*apart)

    def test_a_variant_may_also_be_evaluated_with_dropping(self):
        dropping = {"drop.kind": "device"}
        self.write_study(variants={"none": {}, "device": dropping | {"eval.drop": "both"}})
        self.assertEqual(self.ablate("--dry-run").code, 0)
        self.refused("none and device are evaluated differently: eval.drop is False and True",
                     variants={"none": {}, "device": dropping | {"eval.drop": True}})

    def test_bad_arguments_are_refused(self):
        self.write_study()
        self.assert_refused(self.ablate("--jobs", "0"), "--jobs (0) must be at least 1")
        self.assert_refused(self.ablate("--only", "nothing"), "--only nothing matches none of 6 runs")
        self.assert_refused(self.ablate(DSMOE_BINARY="/nowhere/dsmoe"), "no program at /nowhere/dsmoe")
        self.assert_refused(script("ablate", self.folder, "missing.yaml"), "missing.yaml")
        self.assert_refused(script("report", self.folder, "missing"), "missing: no such folder")
        self.assert_refused(script("report", self.folder, "."), "it has no study.json")

    def test_the_help_s_study_is_a_study(self):
        text = script("ablate", self.folder, "--help").out
        for key in (*STUDY, "grid", "ranks", "directory"):
            self.assertIn(f"\n  {key}: ", text.replace(":\n", ": \n"))


if __name__ == "__main__":
    unittest.main()
