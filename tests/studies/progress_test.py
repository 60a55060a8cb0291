"""What is seen while a study runs, and the time that it is said to take."""

import io
import json
import pathlib
import shutil
import tempfile
import types
import unittest

from studies import ROOT  # puts scripts/lib on the path

from ablation import estimate, progress


class Terminal(io.StringIO):

    def isatty(self):
        return True


class ProgressTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-progress-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_at(self, name, steps_done, speed=100.0, done=False):
        """A run of 10 steps of 100 tokens."""
        folder = self.folder / name
        folder.mkdir()
        lines = [{"step": step, "tokens": 100 * step, "loss": 2.5, "load": {"max_vio": 0.5}, "tokens_per_second": speed}
                 for step in range(1, steps_done + 1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 99, "tok')
        if done:
            (folder / "DONE").touch()
        return types.SimpleNamespace(label=name, folder=folder, steps=10, tokens=1000)

    def test_time_is_unknown_until_a_run_was_measured(self):
        new = self.run_at("new", 0)
        self.assertIsNone(estimate.seconds_left([new], 1))
        self.assertEqual(estimate.spoken(None), "unknown")

    def test_time_left_counts_the_runs_at_a_time(self):
        runs = [self.run_at("done", 10, done=True), self.run_at("half", 5, speed=50.0), self.run_at("new", 0)]
        self.assertEqual(estimate.speed(runs), 100.0)
        self.assertEqual(estimate.seconds_left(runs, 1), 15.0)
        self.assertEqual(estimate.seconds_left(runs, 2), 10.0)
        self.assertEqual([estimate.spoken(seconds) for seconds in (15, 600, 9000)], ["15 s", "10 min", "2 h 30 min"])

    def test_a_terminal_shows_a_table_that_is_drawn_anew(self):
        runs, terminal = [self.run_at("half", 5), self.run_at("new", 0)], Terminal()
        shown = progress.Progress(runs, 1, terminal)
        shown.show(runs[:1], 0, 0)
        first = terminal.getvalue()
        self.assertIn("half  step 5/10  50 %  loss 2.5000  MaxVio 0.50", first)
        self.assertIn("0 of 2 runs finished, 1 running, 1 waiting", first)
        self.assertNotIn("\x1b", first)
        shown.say("finished half")
        self.assertTrue(terminal.getvalue().endswith("\x1b[2A\x1b[Jfinished half\n"))

    def test_elsewhere_there_are_plain_lines_now_and_then(self):
        runs, stream = [self.run_at("half", 5)], io.StringIO()
        shown = progress.Progress(runs, 1, stream)
        shown.show(runs, 0, 0)
        self.assertEqual(stream.getvalue(), "")
        shown.spoken_at -= progress.PLAIN_EVERY + 1
        shown.show(runs, 0, 0)
        self.assertEqual(stream.getvalue().count("\n"), 2)
        self.assertNotIn("\x1b", stream.getvalue())


if __name__ == "__main__":
    unittest.main()
