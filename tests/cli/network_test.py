"""bench network and overlap: what they tell of ranks, links and collectives; and where ranks run."""
import os
import re
import unittest

from support import CliTest


class NetworkTest(CliTest):

    def test_links_and_collectives_are_timed(self):
        result = self.succeed("bench", "network", "--steps", 3, "--json", ranks=4).json()
        self.assertEqual([link["rank"] for link in result["links"]], [1, 2, 3])
        self.assertEqual(len(result["ranks"]), 4)
        operations = {(one["operation"], one["bytes"]) for one in result["collectives"]}
        self.assertEqual(len(operations), 12)
        for one in result["links"] + result["collectives"]:
            for key in one.keys() - {"operation"}:
                self.assertGreater(one[key], 0, one)
        for one in result["collectives"]:
            crossing = {"all_reduce": 2}.get(one["operation"], 1) * 3 / 4 * one["bytes"]
            self.assertAlmostEqual(one["bus_bytes_per_second"] * one["seconds"] / crossing, 1, places=9)

    def test_a_table_for_people(self):
        text = str(self.succeed("bench", "network", "--steps", 1, ranks=2))
        self.assertRegex(text, r"ranks 0-1 +\S+, cores [0-9,-]+, \d+ threads? each")
        self.assertRegex(text, r"to rank 1 +[0-9.]+ us, [0-9.]+ .iB/s")

    def test_what_overlap_is_worth_is_measured_in_one_run(self):
        config = self.write_config("overlap.yaml", parallel={"bucket_mib": 0.001}, run={"precision": "fp32"})
        result = self.succeed("bench", "overlap", config, "--steps", 2, "--json", "parallel.expert=2", ranks=4).json()
        for kind in ("without", "with"):
            for key in ("step", "gradient_sums", "row_exchanges"):
                self.assertGreater(result[kind][key], 0, result)
        text = str(self.succeed("bench", "overlap", config, "--steps", 1, ranks=2))
        self.assertRegex(text, r"held up by sums of gradients +[0-9.]+ ms, with overlap [0-9.]+ ms, [0-9.]+ times")

    def test_what_it_cannot_use_is_refused(self):
        for arguments, ranks, expected in ((["network"], 0, "nobody to talk to"),
                                           (["network", "x.yaml"], 2, "x.yaml says nothing of a network"),
                                           (["network", "--context", "64"], 2, "--context says nothing"),
                                           (["overlap", self.write_config()], 0, "nobody to talk to"),
                                           (["step"], 0, "no configuration")):
            with self.subTest(arguments):
                failed = self.dsmoe("bench", *arguments, ranks=ranks)
                self.assertEqual(failed.code, 2, failed)
                self.assertIn(expected, str(failed))

    def test_a_run_tells_where_its_ranks_are(self):
        config = self.write_config(schedule={"steps": 1, "warmup_steps": 0}, run={"threads": 99})
        text = str(self.succeed("train", config, ranks=2))
        self.assertRegex(text, r"\nranks\n +ranks 0-1 +\S+, cores [0-9,-]+, 99 threads each")
        self.assertEqual(len(re.findall("threads more than cores", text)), 1, text)

    def test_ranks_share_the_cores_that_they_may_use(self):
        config = self.write_config(schedule={"steps": 1, "warmup_steps": 0}, run={"threads": "auto"})
        cores = sorted(os.sched_getaffinity(0))
        first = ("taskset", "-c", str(cores[0]))
        for ranks, wrapper, threads in ((0, (), len(cores)), (2, (), max(1, len(cores) // 2)),
                                        (4, (), max(1, len(cores) // 4)), (0, first, 1), (2, first, 1)):
            with self.subTest(ranks=ranks, wrapper=wrapper):
                text = str(self.succeed("train", config, "run.resume=never", ranks=ranks, wrapper=wrapper))
                self.assertRegex(text, fr"threads per rank +{threads}\b")
                if ranks > 0:
                    bound = cores[0] if wrapper else "[0-9,-]+"
                    self.assertRegex(text, fr"\nranks\n +ranks 0-{ranks - 1} +\S+, cores {bound}, {threads} threads?\b")


if __name__ == "__main__":
    unittest.main()
