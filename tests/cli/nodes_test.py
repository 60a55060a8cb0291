"""parallel.ranks_per_node: rows cross to a node once; the same model, and bytes told by kind of link."""
import unittest

from support import CliTest, metrics

NODES = ["parallel.expert=4", "parallel.ranks_per_node=2"]


def losses(run):
    return [line["loss_total"] for line in metrics(run)]


class NodesTest(CliTest):

    def test_the_same_losses_and_fewer_bytes_between_nodes(self):
        direct = self.train("direct", "parallel.expert=4", "parallel.ranks_per_node=1", "batch.pool=1", ranks=4)
        nodes = self.train("nodes", *NODES, "batch.pool=1", ranks=4)
        for a, b in zip(losses(direct), losses(nodes), strict=True):
            self.assertAlmostEqual(a, b, delta=1e-11)
        for line in metrics(nodes):
            traffic = line["traffic"]
            self.assertEqual(traffic["inter_node_bytes"] + traffic["intra_node_bytes"], traffic["bytes"])
            self.assertEqual(traffic["bytes"], traffic["bytes_bound"] + traffic["metadata_bytes"])
        direct_bytes, node_bytes = ([line["traffic"] for line in metrics(run)] for run in (direct, nodes))
        for a, b in zip(direct_bytes, node_bytes, strict=True):
            self.assertEqual(a["intra_node_bytes"], 0)
            self.assertLess(b["inter_node_bytes"], a["inter_node_bytes"])
            self.assertAlmostEqual(a["ranks_per_token"], b["ranks_per_token"], delta=1e-12)

    def test_a_group_within_a_node_crosses_nothing(self):
        run = self.train("within", "parallel.expert=2", "parallel.ranks_per_node=2", ranks=4)
        for line in metrics(run):
            self.assertEqual(line["traffic"]["inter_node_bytes"], 0)
            self.assertGreater(line["traffic"]["intra_node_bytes"], 0)

    def test_nodes_are_silent_where_nothing_is_known_of_them(self):
        run = self.train("plain", "parallel.expert=2", ranks=2)
        self.assertNotIn("inter_node_bytes", metrics(run)[0]["traffic"])

    def test_parts_of_nodes_are_refused(self):
        failed = self.dsmoe("train", self.write_config(), "parallel.expert=4", "parallel.ranks_per_node=3", ranks=4)
        self.assertEqual(failed.code, 2, failed)
        self.assertIn("parallel.ranks_per_node (3) must divide parallel.expert (4)", str(failed))


if __name__ == "__main__":
    unittest.main()
