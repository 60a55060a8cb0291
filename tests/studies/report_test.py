"""The report's arithmetic, its refusals and its conclusions, on made-up studies."""

import json
import math
import pathlib
import shutil
import tempfile
import unittest

import made_up
import numpy as np
from studies import rows, script

from ablation import configuration
from report import comparisons, conclusions, curves, guards, routing, statistics, styles
from report.columns import shown
from report.runs import read_study
from report.student_t import quantile

TWO = {"none": (0, 0, 0), "expert": (0.003, 0, 0)}


class MadeUpTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-report-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, **options):
        small = {"variants": TWO, "seeds": (1, 2), "steps": 20, "routing": False}
        return made_up.write_study(self.folder, **small | options)

    def report(self):
        return script("report", self.folder, self.folder)

    def rewrite(self, run, change):
        """Passes each line of a run's metrics through change()."""
        path = self.folder / run / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(change(line) or line) + "\n" for line in lines))

    def refused(self, *words):
        result = self.report()
        self.assertEqual(result.code, 2, result)
        for word in (*words, "hint: "):
            self.assertIn(word, result.err)
        self.assertFalse((self.folder / "report.html").exists())


class GuardTest(MadeUpTest):

    def test_runs_with_other_numbers_of_tokens_are_not_compared(self):
        self.write()
        self.rewrite("expert/seed-2", lambda line: line.update(tokens=2 * line["tokens"]))
        self.refused("none/seed-1 was trained on 81,920 tokens, expert/seed-2 on 163,840")

    def test_runs_with_other_held_out_text_are_not_compared(self):
        self.write()
        self.rewrite("expert/seed-1", lambda line: "eval" in line and line["eval"]["held"].update(tokens=7) or None)
        self.refused("none/seed-1 and expert/seed-1 were evaluated on different text")

    def test_a_run_that_was_not_evaluated_at_its_end_is_not_compared(self):
        self.write()
        self.rewrite("expert/seed-1", lambda line: line["step"] == 20 and line.pop("eval") and None)
        self.refused("expert/seed-1 was last evaluated after 61,440 of 81,920 tokens")

    def test_a_folder_with_another_configuration_is_refused(self):
        self.write()
        path = self.folder / "expert/seed-1/config.yaml"
        path.write_text(path.read_text().replace("0.003", "0.004"))
        self.refused("expert/seed-1: its configuration")

    def test_damaged_files_are_named(self):
        self.write(routing=True)
        (self.folder / "none/seed-1/routing/step-00000020.safetensors").write_bytes(b"no")
        self.refused("none/seed-1/routing/step-00000020.safetensors")

    def test_inert_means_the_same_bits_for_every_seed(self):
        study = self.write(variants=TWO | {"same": (0, 0, 0), "half": (0, 0, 0)})
        for run in ("same/seed-1", "same/seed-2", "half/seed-1"):
            shutil.copy(self.folder / run.replace("same", "none").replace("half", "none") / "metrics.jsonl",
                        self.folder / run / "metrics.jsonl")
        self.rewrite("half/seed-2", lambda line: line.update(loss=np.nextafter(line["loss"], 9)))
        self.assertEqual(guards.inert(study, read_study(self.folder)[1]), ["same"])
        self.assertIn("inert: the same bits", self.report().out)


class ArithmeticTest(MadeUpTest):

    def test_quantiles_are_those_of_the_tables(self):
        for freedom, value in ((1, 12.7062047), (2, 4.30265273), (4, 2.77644511), (30, 2.04227246),
                               (10**6, 1.95996635)):
            self.assertAlmostEqual(quantile(0.95, freedom), value, delta=2e-7 * value)
        self.assertAlmostEqual(quantile(0.99, 2), 9.92484320, delta=1e-7)

    def test_held_out_sources_weigh_by_their_tokens(self):
        sources = {"a": {"loss": 2.0, "tokens": 300, "bits_per_byte": 2.0}, "b": {"loss": 4.0, "tokens": 100,
                                                                                 "bits_per_byte": 4.0}}
        self.assertEqual(statistics.held_out(sources), 2.5)
        self.assertAlmostEqual(statistics.bits_per_byte(sources), 2.5)

    def test_differences_are_paired_by_seed(self):
        numbers, baseline = {1: {"x": 5.0}, 3: {"x": 6.0}}, {1: {"x": 4.0}, 2: {"x": 100.0}, 3: {"x": 4.0}}
        difference = statistics.paired(numbers, baseline, "x")
        self.assertEqual(difference.values, [1.0, 2.0])
        self.assertAlmostEqual(difference.high, 1.5 + 12.7062047 * 0.5, places=6)
        self.assertFalse(difference.excludes_zero)

    def test_numbers_are_shown_with_a_real_minus_and_no_minus_zero(self):
        self.assertEqual([shown(value, 2, True) for value in (-1.0, 0.5, -0.001, float("nan"))],
                         ["−1.00", "+0.50", "0.00", "–"])

    def routing_of(self, load, **more):
        tensors = {"received_SLD": np.zeros((1, 1, 2)), "visits_SLV": np.zeros((1, 1, 3)), **more}
        return routing.Routing([10], [1], ["a", "b"], np.array(load), by_domain_SCLE=more.pop("domains", None),
                               **{key: value for key, value in tensors.items() if key != "domains"})

    def test_specialisation_reaches_from_alike_to_apart(self):
        alike, apart = ([[[[3, 1, 0, 0]], [[6, 2, 0, 0]]]], [[[[3, 1, 0, 0]], [[0, 0, 5, 5]]]])
        for domains, value in ((alike, 0), (apart, 1)):
            found = self.routing_of([[[1, 1, 1, 1]]], domains=np.array(domains))
            self.assertAlmostEqual(routing.specialisation(found, 0.2), value)

    def test_a_device_s_share_is_that_of_its_neighbouring_experts(self):
        self.assertEqual(routing.device_share_SLD(self.routing_of([[[1, 2, 3, 4]]])).tolist(), [[[0.3, 0.7]]])
        received = self.routing_of([[[1, 2, 3, 4]]], received_SLD=np.array([[[1, 3]]]))
        self.assertEqual(routing.received_share_SLD(received).tolist(), [[[0.25, 0.75]]])
        visits = self.routing_of([[[1]]], visits_SLV=np.array([[[0, 3, 1]]]))
        self.assertEqual(routing.visit_share(visits, 0.2).tolist(), [0, 0.75, 0.25])

    def test_variants_along_one_factor_are_found(self):
        study = self.write(variants={"none": (0, 0, 0), "all": (0.1, 0.2, 0), "ten": (0.1, 0, 0), "one": (0.01, 0, 0)})
        found = statistics.summaries(*read_study(self.folder))
        self.assertEqual(comparisons.factor_lines(study, found), [("balance.expert", ["none", "one", "ten"])])


class CacheTest(MadeUpTest):

    def fifth_column(self, *sizes):
        """Of the table, after the difference. The variants keep this much of a token; None: study.json does not tell."""
        study = self.write()
        for variant, size in zip(study["variants"].values(), sizes):
            variant |= {"kv_cache": {"elements_per_token": size}} if size else {}
        made_up.save(self.folder, study)
        result = self.report()
        shutil.rmtree(self.folder)
        return [line.split(" | ")[4] for line in result.out.splitlines() if line.startswith("|")]

    def test_the_cache_stands_in_the_table_where_variants_differ_in_it(self):
        for sizes in ((192, 192), (None, None)):
            self.assertEqual(self.fifth_column(*sizes)[0], "MaxVio")
        header, _, *rows = self.fifth_column(1280, 192)
        self.assertEqual([header, *rows], ["KV cache", "1,280", "192"])


class DroppingTest(MadeUpTest):

    def concluded(self, seeds=(1, 2, 3), **options):
        study = self.write(told={"expert": ["with_drop"]}, seeds=seeds, **options)
        found = statistics.summaries(study, runs := read_study(self.folder)[1])
        return conclusions.conclude(study, runs, found, guards.inert(study, runs), {})

    def test_the_loss_with_dropping_stands_beside_the_one_without(self):
        self.concluded()
        table = [line.split(" | ") for line in self.report().out.splitlines() if line.startswith("|")]
        self.assertEqual([table[0][4], table[2][4]], ["loss with drop", "–"])
        told, each = rows(self.folder / "results.csv"), rows(self.folder / "runs.csv")["expert"]
        mean, deviation = (float(told["expert"][f"loss_with_drop_{what}"]) for what in ("mean", "sd"))
        self.assertEqual(table[3][4], f"{mean:.4f} ± {deviation:.4f}")
        self.assertEqual((told["none"]["loss_with_drop_mean"], told["none"]["drop_cost_mean"]), ("", ""))
        self.assertAlmostEqual(float(each["drop_cost"]), float(each["loss_with_drop"]) - float(each["held_out_loss"]))
        self.assertIn("| loss with drop |", (self.folder / "results.md").read_text())

    def test_its_cost_is_paired_within_each_run(self):
        result = self.concluded()
        costs = statistics.Difference([run.evaluations[-1][1]["held"]["with_drop"]["loss"]
                                       - run.evaluations[-1][1]["held"]["loss"]
                                       for run in read_study(self.folder)[1] if run.variant == "expert"])
        self.assertEqual(result.may[-1], "Loss with drop differs from that of the same run without dropping: expert by "
                         f"{costs.mean:+.4f} (95 % interval {costs.low:+.4f} to {costs.high:+.4f}).")

    def test_one_run_of_it_is_told_without_an_interval(self):
        result = self.concluded(seeds=(1,))
        self.assertEqual(result.may, [])
        self.assertTrue(any("one run each of expert (+0.0" in sentence for sentence in result.may_not))

    def test_where_one_source_was_not_evaluated_so_there_is_no_number(self):
        one = {"loss": 2.0, "tokens": 300, "with_drop": {"loss": 2.5, "tokens": 300}}
        self.assertEqual(statistics.with_drop({"a": one, "b": one}), 2.5)
        self.assertTrue(np.isnan(statistics.with_drop({"a": one, "b": {"loss": 2.0, "tokens": 300}})))

    def test_an_inert_variant_may_be_evaluated_with_dropping_too(self):
        told = {"same": ["with_drop"], "expert": ["with_drop"]}
        study = self.write(variants=TWO | {"same": (0, 0, 0)}, told=told)
        self.assertEqual(guards.inert(study, read_study(self.folder)[1]), ["same"])
        self.rewrite("same/seed-2", lambda line: "eval" in line and line["eval"]["held"].update(loss=9.0) or None)
        self.assertEqual(guards.inert(study, read_study(self.folder)[1]), [])

    def test_without_such_evaluations_the_table_is_as_ever(self):
        self.write()
        self.assertNotIn("loss with drop", self.report().out)


class InterferenceTest(MadeUpTest):

    def figures(self, **options):
        """{identity: {variant: tokens at the points of its line}}"""
        self.write(told={"none": ["interference"], "expert": ["interference"]}, **options)
        runs = read_study(self.folder)[1]
        found = curves.interference_figures(runs, styles.styles(TWO, "none"))
        return {each["id"]: {trace["variant"]: trace["x"] for trace in each["data"] if "fill" not in trace}
                for each in found}

    def test_curves_have_a_point_where_a_step_tells_one(self):
        tokens = [step * made_up.BATCH for step in (5, 10, 15, 20)]
        self.assertEqual(self.figures(), {"interference-ratio": {"expert": tokens},
                                          "interference-cosine": {"expert": tokens}})

    def test_a_seed_that_once_tells_none_leaves_a_gap(self):
        self.write(told={"expert": ["interference"]})
        self.rewrite("expert/seed-2", lambda line: line["step"] == 10 and line["interference"].update(ratio=None))
        found = curves.interference_figures(read_study(self.folder)[1], styles.styles(TWO, "none"))
        self.assertEqual([value is None for value in found[0]["data"][1]["y"]], [False, True, False, False])

    def test_one_step_of_it_is_no_curve(self):
        self.assertEqual(self.figures(steps=8), {})

    def test_the_csv_has_its_end(self):
        self.write(told={"expert": ["interference"]}, steps=40)
        self.assertEqual(self.report().code, 0)
        lines = [json.loads(line) for line in (self.folder / "expert/seed-2/metrics.jsonl").read_text().splitlines()]
        ends = [line["interference"] for line in lines if line["step"] in (35, 40)]
        told = rows(self.folder / "runs.csv")["expert"]  # the last of its rows
        for name in ("ratio", "cosine"):
            self.assertAlmostEqual(float(told[f"interference_{name}"]), sum(end[name] for end in ends) / 2)
        self.assertEqual(rows(self.folder / "results.csv")["none"]["interference_ratio_mean"], "")


class HeldOutSpecialisationTest(MadeUpTest):

    def figure(self, *telling):
        self.write(told=dict.fromkeys(telling, ["specialisation"]), routing=True)
        return comparisons.specialisation_figure(read_study(self.folder)[1], styles.styles(TWO, "none"))

    def test_sources_of_one_domain_are_left_out(self):
        two, more = {"specialisation": 0.2, "tokens": 300}, {"specialisation": 0.4, "tokens": 100}
        one, before = {"specialisation": None, "tokens": 800}, {"tokens": 800}
        self.assertAlmostEqual(statistics.specialisation({"a": two, "b": more, "c": one, "d": before}), 0.25)
        self.assertTrue(np.isnan(statistics.specialisation({"c": one, "d": before})))

    def test_the_figure_shows_the_held_out_text_where_every_run_tells_of_it(self):
        figure = self.figure(*TWO)
        self.assertEqual(self.report().code, 0)
        told = rows(self.folder / "results.csv")
        self.assertIn("(held-out text, after the last step)", figure["title"])
        for trace in figure["data"]:
            mean = float(told[trace["name"]]["held_out_specialisation_mean"])
            self.assertAlmostEqual(trace["y"][0], mean)
            self.assertAlmostEqual(mean, 0.3 - sum(TWO[trace["name"]]), delta=0.03)

    def test_it_shows_the_training_data_where_one_run_does_not(self):
        figure = self.figure("none")
        self.assertIn("(training data, last 20 % of steps)", figure["title"])
        for trace in figure["data"]:
            values = [routing.specialisation(run.routing, 0.2) for run in read_study(self.folder)[1]
                      if run.variant == trace["name"]]
            self.assertAlmostEqual(trace["y"][0], np.mean(values))


class ConclusionTest(MadeUpTest):

    def concluded(self, **options):
        study = self.write(**options)
        found = statistics.summaries(study, runs := read_study(self.folder)[1])
        return conclusions.conclude(study, runs, found, guards.inert(study, runs), conclusions.noise_floor(runs))

    def test_one_pair_allows_no_conclusion(self):
        result = self.concluded(seeds=(1,))
        self.assertEqual(result.may, [])
        self.assertIn("at least three seeds", result.may_not[0])

    def test_an_interval_without_zero_is_a_difference_and_one_with_zero_is_not(self):
        result = self.concluded(seeds=(1, 2, 3, 4, 5), variants={"none": (0, 0, 0), "worse": (0, 0.5, 0)})
        self.assertIn("Held-out loss differs from that of none: worse by +0.", result.may[0])
        self.assertNotIn("Corrected", result.may[0])
        result = self.report()
        self.assertEqual(result.code, 0, result)

    def test_equal_runs_but_for_noise_are_not_called_different_nor_equal(self):
        self.write(seeds=(1, 2, 3))
        for seed, shift in ((1, 0.01), (2, -0.01), (3, 0.0)):
            shutil.copy(self.folder / f"none/seed-{seed}/metrics.jsonl", self.folder / f"expert/seed-{seed}")
            self.rewrite(f"expert/seed-{seed}", lambda line: "eval" in line and line["eval"]["held"].update(
                loss=line["eval"]["held"]["loss"] + shift) or None)
        study, runs = read_study(self.folder)
        result = conclusions.conclude(study, runs, statistics.summaries(study, runs), [], {})
        self.assertEqual(result.may, [])
        self.assertIn("Held-out loss: no difference to none is shown for expert (−0.0248 to +0.0248)",
                      result.may_not[0])
        self.assertIn("not evidence of equality", result.may_not[0])

    def test_violations_are_judged_by_ratios(self):
        numbers = {1: {"max_vio": 0.10}, 2: {"max_vio": 0.08}, 3: {"max_vio": 0.05}}
        baseline = {1: {"max_vio": 1.00}, 2: {"max_vio": 0.80}, 3: {"max_vio": 0.40}}
        found = statistics.ratios({seed: values | {"device_vio": 1.0, "received_vio": 0.0}
                                   for seed, values in numbers.items()},
                                  {seed: values | {"device_vio": 1.0, "received_vio": 1.0}
                                   for seed, values in baseline.items()})
        self.assertEqual(set(found), {"max_vio", "device_vio"})  # of nothing there is no ratio
        ratio = found["max_vio"]
        logs = [math.log(0.1), math.log(0.1), math.log(0.125)]
        half = 4.30265273 * math.sqrt(sum((x - sum(logs) / 3) ** 2 for x in logs) / 2) / math.sqrt(3)
        self.assertAlmostEqual(ratio.mean, math.exp(sum(logs) / 3))
        self.assertAlmostEqual(ratio.low, math.exp(sum(logs) / 3 - half))
        self.assertAlmostEqual(ratio.high, math.exp(sum(logs) / 3 + half))
        self.assertTrue(ratio.excludes_zero)
        self.assertFalse(found["device_vio"].excludes_zero)
        summary = statistics.Summary("even", [1, 2, 3], {}, {}, found)
        self.assertEqual(conclusions.told(conclusions.MAX_VIO, summary),
                         "even by a factor of 0.108 (95 % interval 0.078 to 0.148)")

    def test_many_comparisons_widen_the_interval(self):
        found = [statistics.Summary(name, [1, 2, 3], {}, {"held_out_loss": statistics.Difference(values)})
                 for name, values in (("sure", [1.0, 1.001, 0.999]), ("hint", [1.0, 1.3, 0.7]))]
        text = conclusions.differing(conclusions.HELD_OUT, found, 5, "none")
        self.assertIn("Corrected for 5 comparisons it holds for sure; for hint it is a hint.", text)

    def test_what_is_not_there_is_not_told(self):
        self.write(routing=True)
        self.assertEqual(self.report().code, 0)
        self.assertNotIn('id="interference"', (self.folder / "report.html").read_text())
        with_routing = (self.folder / "report.html").read_text()
        for path in self.folder.rglob("noise_floor.json"):
            path.unlink()
        for path in self.folder.rglob("routing"):
            shutil.rmtree(path)
        self.assertEqual(self.report().code, 0)
        without = (self.folder / "report.html").read_text()
        for part in ('id="routing"', 'id="visits"', 'id="specialisation"', '<tr class="floor">'):
            self.assertIn(part, with_routing)
            self.assertNotIn(part, without)
        self.assertEqual(float(rows(self.folder / "runs.csv")["none"]["tokens"]), 20 * made_up.BATCH)

    def test_a_configuration_s_hash_leaves_out_its_name_alone(self):
        one = {"run.name": "a", "run.seed": 1, "balance.expert": 0.1}
        self.assertEqual(configuration.digest(one), configuration.digest(one | {"run.name": "b"}))
        for change in ({"run.seed": 2}, {"balance.expert": 0.2}, {"new": None}):
            self.assertNotEqual(configuration.digest(one), configuration.digest(one | change))


if __name__ == "__main__":
    unittest.main()
