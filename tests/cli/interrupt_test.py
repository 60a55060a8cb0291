"""A run that is killed at any moment, or asked to stop, loses nothing: it ends as if undisturbed."""
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

from support import CliTest, environment, exact, files_below, step_directory

STEPS = 60
ARGUMENTS = ["checkpoint.every=2", f"schedule.steps={STEPS}"]


def lines_in(run):
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def children(job):
    listed = subprocess.run(["ps", "--ppid", str(job.pid), "-o", "pid="], capture_output=True, text=True)
    return [int(process) for process in listed.stdout.split()]


class InterruptTest(CliTest):

    def begin(self, *arguments, ranks):
        """The run as it is without disturbance, and the folder of one that is to be disturbed."""
        whole = self.train("whole", *ARGUMENTS, *arguments, ranks=ranks)
        shutil.copy(self.folder / "whole.yaml", self.folder / "broken.yaml")
        return whole, self.folder / "runs/broken"

    def interrupt(self, run, disturb, steps, delay, *arguments, ranks):
        """Starts the run; calls disturb(job) `delay` seconds after so many more steps. Returns the code."""
        command = self.command("train", self.folder / "broken.yaml", "run.name=broken", *ARGUMENTS, *arguments,
                               ranks=ranks)
        job = subprocess.Popen(command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        enough = lines_in(run) + steps
        while lines_in(run) < enough and job.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        disturb(job)
        return job.wait(timeout=60)

    def check_equal_ends(self, run, whole, message):
        self.assertEqual(exact(run), exact(whole), message)
        for part in ("model", "optimizer"):
            self.assertEqual(files_below(step_directory(run, STEPS) / part),
                             files_below(step_directory(whole, STEPS) / part), message)

    def test_a_rank_may_be_killed_at_any_moment(self):
        whole, run = self.begin("parallel.expert=2", ranks=2)
        seed = random.randrange(1000)
        dice = random.Random(seed)

        def kill_a_rank(job):
            for process in children(job)[-1:]:
                os.kill(process, signal.SIGKILL)

        for _ in range(3):
            code = self.interrupt(run, kill_a_rank, dice.randint(1, 5), dice.uniform(0, 0.05),
                                  "parallel.expert=2", ranks=2)
            self.assertNotEqual(code, 0, f"seed {seed}: the run was over before it could be killed")
        self.finish(run, *ARGUMENTS, "parallel.expert=2", ranks=2)
        self.check_equal_ends(run, whole, f"seed {seed}")

    def check_stop(self, signal_number, *arguments, ranks):
        whole, run = self.begin(*arguments, ranks=ranks)
        code = self.interrupt(run, lambda job: job.send_signal(signal_number), 3, 0, *arguments, ranks=ranks)
        self.assertEqual(code, 0)
        self.assertFalse((run / "DONE").exists())
        latest = (run / "checkpoints/latest").read_text().strip()
        self.assertEqual(latest, f"step-{lines_in(run):08}")
        self.assertIn("stopped as asked", (run / "log.txt").read_text())
        self.assertIn(latest, self.finish(run, *ARGUMENTS, *arguments, ranks=ranks).out)
        self.check_equal_ends(run, whole, "")

    def test_sigterm_saves_and_ends_one_process(self):
        self.check_stop(signal.SIGTERM, ranks=0)

    def test_sigusr1_to_mpirun_saves_and_ends_all_ranks(self):
        self.check_stop(signal.SIGUSR1, "parallel.expert=2", ranks=2)


if __name__ == "__main__":
    unittest.main()
