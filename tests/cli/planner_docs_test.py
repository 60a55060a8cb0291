"""The figures that docs/planner.md and README.md give of plans are what is planned."""
import re
import unittest

from support import ROOT, CliTest

H800, H100, GB200, GB300 = (f"configs/clusters/{name}.yaml"
                            for name in ("h800_16x8", "h100_128x8", "gb200_4x64", "gb300_4x64"))
MEMORY = {H800: 80e9, H100: 80e9, GB200: 186e9, GB300: 278e9}
SIXTY = ("gemm_efficiency: 0.80", "gemm_efficiency: 0.60")
NOT_HIDDEN = ("overlap: 1.0", "overlap: 0.0")
WHOLE_NODES = "parallel.ranks_per_node=0"
# Rows of docs/planner.md, what they plan, and where.
PUBLISHED = (
    ("DeepSeek-V2,", "v2", H800, 16, []),
    ("DeepSeek-V3, 1024 H100", "v3", H100, 128, []),
    ("DeepSeek-V3, 256 GB200", "v3", GB200, 4,
     ["parallel.pipeline=4", "batch.sequences=4096", WHOLE_NODES, "run.recompute=[mla_up]"]),
    ("DeepSeek-V3, 256 GB300", "v3", GB300, 4,
     ["parallel.pipeline=2", "parallel.expert=32", "batch.sequences=4096", WHOLE_NODES, "run.recompute=[]"]),
    ("Qwen3-235B, 256 H100", "qwen3_235b", H100, 32, []),
    ("Qwen3-235B, 256 GB200", "qwen3_235b", GB200, 4, ["parallel.chunks=3", WHOLE_NODES, "run.recompute=[]"]),
    ("Qwen3-235B, 256 GB300", "qwen3_235b", GB300, 4,
     ["parallel.pipeline=4", "parallel.chunks=12", "parallel.expert=16", "batch.micro_sequences=2", WHOLE_NODES,
      "run.recompute=[]"]),
    ("Qwen3-30B, 16 H100", "qwen3_30b", H100, 2, []),
)
MOVED = (
    ("as planned", 16, [], []),
    ("products at 60 %", 16, [], [SIXTY]),
    ("nothing hidden", 16, [], [NOT_HIDDEN]),
    ("whole layers", 16, ["run.recompute=[layer]"], []),
    ("1024 GPUs, 144", 128, [], []),
    ("1024 GPUs at the ramp's", 128, ["batch.sequences=2304"], []),
    ("1024 GPUs, 60 %", 128, [], [SIXTY, NOT_HIDDEN]),
)


def thousands_of_hours(plan):
    return plan["hours_per_trillion_tokens"] / 1000


def per_gpu(plan):
    return plan["tokens_per_second"] / plan["layout"]["ranks"]


def gibibytes(plan):
    return plan["memory"]["total"] / 2**30


class PlannerDocsTest(CliTest):

    def setUp(self):
        super().setUp()
        self.written = self.folder / "cluster.yaml"
        self.folder = ROOT  # presets are found from the repository's root
        self.text = " ".join((ROOT / "docs/planner.md").read_text().split())
        self.lines = (ROOT / "docs/planner.md").read_text().splitlines()

    def plan(self, name, cluster, nodes, *overrides, edits=()):
        text = (ROOT / cluster).read_text()
        for before, after in edits:
            self.assertIn(before, text)
            text = text.replace(before, after)
        self.written.write_text(text)
        return self.succeed("inspect", f"configs/plans/{name}.yaml", *overrides, "--cluster", str(self.written),
                            "--nodes", nodes, "--layouts", 1, "--json").json()

    def cells(self, row):
        line, = (line for line in self.lines if line.startswith("| " + row))
        return [cell.strip().replace("−", "-") for cell in line.split("|")[1:-1]]

    def assert_told(self, *sentences):
        for sentence in sentences:
            self.assertIn(sentence, self.text)

    def test_rows_of_published_figures(self):
        for row, name, cluster, nodes, overrides in PUBLISHED:
            with self.subTest(row):
                published, planned, off = (float(re.match(r"[+-]?[\d.]+", cell).group())
                                           for cell in self.cells(row)[2:])
                plan = self.plan(name, cluster, nodes, *overrides)
                now = thousands_of_hours(plan) if name == "v2" else per_gpu(plan)
                self.assertLess(plan["memory"]["total"], MEMORY[cluster])
                self.assertAlmostEqual(now / planned, 1, delta=0.002)
                self.assertAlmostEqual(100 * (now / published - 1), off, delta=0.6)
                self.assertEqual(self.cells(row)[1], " ".join(f"`{override}`" for override in overrides))

    def test_nothing_computed_again_would_not_fit_v3_on_gb200(self):
        row, name, cluster, nodes, overrides = PUBLISHED[2]
        self.assertIn("256 GB200", row)
        plan = self.plan(name, cluster, nodes, *overrides[:-1], "run.recompute=[]")
        self.assertGreater(plan["memory"]["total"], MEMORY[cluster])

    def test_what_moves_the_hours_of_v2(self):
        rows = [line for line in self.lines if re.match(r"\| .* \| [\d.]+ \|$", line)]
        self.assertEqual(len(rows), len(MOVED))
        for row, nodes, overrides, edits in MOVED:
            with self.subTest(row):
                planned = thousands_of_hours(self.plan("v2", H800, nodes, *overrides, edits=edits))
                self.assertAlmostEqual(planned, float(self.cells(row)[1]), delta=0.051)

    def test_the_layout_of_v2_among_others(self):
        plan = self.plan("v2", H800, 16)
        ranking = plan["ranking"]
        self.assertEqual(plan["layout"], ranking["best"][0]["layout"])
        self.assert_told(f"fastest of the {ranking['fitting']} that fit of the {ranking['tried']:,} tried",
                         f"in {gibibytes(plan):.1f} of 74.5 GiB")
        most = self.plan("v2", H800, 16, "parallel.put_off=1")
        self.assert_told(f"({thousands_of_hours(most):.1f} K hours), and the last stage needs {gibibytes(most):.0f} GiB")
        plain = self.plan("v2", H800, 16, "parallel.schedule=1f1b")
        self.assert_told(f"`1f1b` would take {thousands_of_hours(plain):.1f} K, in {gibibytes(plain):.1f} GiB")

    def test_exchanges_of_v3_and_qwen(self):
        by_nodes, whole = ([self.plan(name, H100, nodes, f"parallel.ranks_per_node={size}")
                            for name, nodes in (("v3", 128), ("qwen3_235b", 32))] for size in (8, 0))
        shares = [[f"{100 * plan['seconds']['exchange'] / plan['seconds']['total']:.0f}" for plan in plans]
                  for plans in (whole, by_nodes)]
        self.assert_told(f"{per_gpu(whole[0]):.0f} and {per_gpu(whole[1]):.0f} tokens/s a GPU",
                         f"{' and '.join(shares[0])} % of the step are exchanges",
                         f"with it {' and '.join(shares[1])} % still are")
        for plan in by_nodes:
            best = plan["ranking"]["best"][0]
            layout = best["layout"]
            self.assert_told(f"`pipeline {layout['pipeline']} x expert {layout['expert']}`", f"{per_gpu(best):,.0f} a GPU")

    def test_the_readme_tells_what_is_printed(self):
        told = (ROOT / "README.md").read_text().split("- **Planning.**")[1].split("\n- **")[0]
        printed = self.succeed("inspect", "configs/plans/v2.yaml", "--cluster", H800, "--layouts", 1).out
        figures = re.findall(r"`([^`]*(?:of 74.5 GiB|hours of one rank|layouts that fit))`", told)
        self.assertEqual(len(figures), 3)
        for figure in figures:
            self.assertIn(" ".join(figure.split()), " ".join(printed.split()))

    def test_every_plan_has_a_table_for_people(self):
        for name, cluster, nodes in (("v2", H800, 16), ("v3", H100, 128), ("qwen3_235b", H100, 32),
                                     ("qwen3_30b", H100, 2)):
            text = self.succeed("inspect", f"configs/plans/{name}.yaml", "--cluster", cluster, "--nodes", nodes,
                                "--layouts", 2).out
            for expected in ("memory per rank", "dispatch and combine", "by one, over its links", "tokens/s", "best of",
                             "others do not"):
                self.assertIn(expected, text)


if __name__ == "__main__":
    unittest.main()
