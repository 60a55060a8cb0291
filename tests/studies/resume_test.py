"""A study that is stopped or killed goes on where it was, and ends as if undisturbed."""

import os
import signal
import subprocess
import time
import unittest

from studies import PYTHON, ROOT, StudyTest
from support import environment, exact

STEPS = 80


def lines_in(run):
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def descendants(process):
    listed = subprocess.run(["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, text=True)
    return [int(each) for each in listed.stdout.split()]


class ResumeTest(StudyTest):

    def setUp(self):
        super().setUp()
        self.write_base(schedule={"steps": STEPS}, checkpoint={"every": 4}, eval={"every": 0})
        self.write_study(seeds=[1], variants={"none": {}})
        self.run_path = self.run_folder("none", 1)

    def begin(self):
        """scripts/ablate under way, a few steps into its run."""
        job = subprocess.Popen([PYTHON, ROOT / "scripts/ablate", "study.yaml", "--no-report"], cwd=self.folder,
                               env=environment(), stderr=subprocess.PIPE, text=True)
        self.addCleanup(job.stderr.close)
        limit = time.monotonic() + 60
        while lines_in(self.run_path) < 6 and job.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        self.assertIsNone(job.poll(), "the study was over before it could be disturbed")
        return job

    def check_end(self):
        """Finished by the same command, with the metrics of a run that nothing disturbed."""
        self.assertFalse((self.run_path / "DONE").exists())
        again = self.ablate("--no-report")
        self.assertEqual(again.code, 0, again)
        self.assertIn("resuming none/seed-1", again.err)
        self.assertIn("resumed from", (self.run_path / "stdout.log").read_text())
        self.succeed("train", "base.yaml", "run.name=whole")
        self.assertEqual(exact(self.run_path), exact(self.folder / "runs/whole"))

    def test_an_interrupt_lets_the_run_save(self):
        job = self.begin()
        job.send_signal(signal.SIGINT)
        self.assertEqual(job.wait(timeout=60), 130)
        self.assertIn("the same command goes on from here", job.stderr.read())
        self.assertEqual((self.run_path / "checkpoints/latest").read_text().strip(),
                         f"step-{lines_in(self.run_path):08}")
        self.check_end()

    def test_a_killed_run_fails_and_is_resumed(self):
        job = self.begin()
        for process in descendants(job.pid):
            os.kill(process, signal.SIGKILL)
        self.assertEqual(job.wait(timeout=60), 1)
        self.assertIn("failed   none/seed-1: exit code -9", job.stderr.read())
        self.check_end()

    def test_two_at_work_on_one_study_are_refused(self):
        job = self.begin()
        self.assert_refused(self.ablate(), "another scripts/ablate is at work")
        job.send_signal(signal.SIGTERM)
        self.assertEqual(job.wait(timeout=60), 143)


if __name__ == "__main__":
    unittest.main()
