"""scripts/slurm/train.sbatch without Slurm: what it does about a signal, an error and the end of a run.

Stand-ins on PATH: scontrol writes down what it is asked; mpirun writes down how it was called and starts two ranks
with the true one, whatever cores there are. Slurm's part is played by the tests: B:USR1 goes to the shell alone.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cli"))
import support

SCRIPT = ROOT / "scripts/slurm/train.sbatch"
STEPS = 60
MPIRUN = """\
#!/usr/bin/env bash
echo "$@" >>mpirun.txt
while [ "${1#-}" != "$1" ]; do
  case $1 in --map-by | --bind-to) shift 2 ;; *) shift ;; esac
done
exec %s "$@"
"""
SCONTROL = """\
#!/usr/bin/env bash
case "$1 $2" in
  "show job") echo "   StdOut=$PWD/job.log" ;;
  *) echo "$@" >>scontrol.txt ;;
esac
"""
# In the place of dsmoe: a rank that waits for its signal, then ends as END says.
RANK = """\
#!/usr/bin/env bash
end() {
  touch "asked.$OMPI_COMM_WORLD_RANK"
  END
}
trap end USR1
echo "writing to runs/made"
mkdir -p runs/made
touch "ready.$OMPI_COMM_WORLD_RANK"
while :; do sleep 0.05; done
"""


class SlurmTest(support.CliTest):

    def setUp(self):
        super().setUp()
        true_mpirun = support.mpirun(2)
        self.assertIsNotNone(shutil.which(true_mpirun[0]), "mpirun is missing: run scripts/setup")
        true_mpirun[0] = shutil.which(true_mpirun[0])
        self.write_program("bin/mpirun", MPIRUN % " ".join(true_mpirun))
        self.write_program("bin/scontrol", SCONTROL)

    def write_program(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def start(self, *arguments, binary=support.BINARY, **variables):
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        variables = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1", "DSMOE_BINARY": binary, "PATH": path} | variables
        with open(self.folder / "job.log", "a", encoding="utf-8") as log:
            job = subprocess.Popen(["bash", SCRIPT, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, env=support.environment(**variables),
                                   start_new_session=True)
        self.addCleanup(self.end_all, job)
        return job

    def end_all(self, job):
        """Whatever a failed test has left running."""
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()

    def wait_for(self, happened, job):
        end = time.monotonic() + support.LIMIT
        while not happened():
            if job.poll() is not None or time.monotonic() > end:
                self.fail(self.read("job.log"))
            time.sleep(0.01)

    def check_end(self, job, code, requeues):
        self.assertEqual(job.wait(timeout=support.LIMIT), code, self.read("job.log"))
        self.assertEqual(self.read("scontrol.txt"), "requeue 7\n" * requeues, self.read("job.log"))

    def read(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def start_ranks(self, end):
        """Two ranks that are ready for their signal."""
        job = self.start("made.yaml", binary=self.write_program("rank", RANK.replace("END", end)))
        self.wait_for(lambda: all((self.folder / f"ready.{rank}").exists() for rank in range(2)), job)
        return job

    def check_all(self, did):
        for rank in range(2):
            self.assertTrue((self.folder / f"{did}.{rank}").exists(), self.read("job.log"))

    def test_a_run_that_is_stopped_goes_on_after_requeueing_as_if_it_had_not_been(self):
        changes = ("parallel.expert=2", f"schedule.steps={STEPS}", "eval.every=0", "log.tensorboard=false")
        whole = self.train("whole", *changes, ranks=2)
        command = (self.write_config(), "run.name=stopped", *changes)
        stopped = self.folder / "runs/stopped"
        job = self.start(*command)
        self.wait_for(lambda: self.read("runs/stopped/metrics.jsonl").count("\n") > 10, job)
        job.send_signal(signal.SIGUSR1)
        self.check_end(job, code=0, requeues=1)
        self.assertLess(len(support.metrics(stopped)), STEPS, "the run was over before it could be stopped")
        self.check_end(self.start(*command, SLURM_RESTART_COUNT="1"), code=0, requeues=1)
        self.assertTrue((stopped / "DONE").exists())
        self.assertEqual(support.exact(stopped), support.exact(whole))
        self.check_end(self.start(*command), code=0, requeues=1)
        self.assertEqual(support.exact(stopped), support.exact(whole))

    def test_every_rank_is_asked_and_the_job_waits_for_what_takes_its_time(self):
        job = self.start_ranks("sleep 1; touch saved.$OMPI_COMM_WORLD_RANK; exit 0")
        job.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        job.send_signal(signal.SIGUSR1)
        self.check_end(job, code=0, requeues=1)
        self.check_all("saved")

    def test_a_run_that_is_done_when_it_is_asked_to_stop_is_not_requeued(self):
        job = self.start_ranks("touch runs/made/DONE; exit 0")
        job.send_signal(signal.SIGUSR1)
        self.check_end(job, code=0, requeues=0)
        self.check_all("asked")

    def test_a_run_that_fails_while_it_stops_is_not_requeued(self):
        job = self.start_ranks("exit 2")
        job.send_signal(signal.SIGUSR1)
        self.check_end(job, code=2, requeues=0)

    def test_bad_input_is_told_and_not_requeued(self):
        self.check_end(self.start(self.write_config(), "model.n_routed_experts=7"), code=2, requeues=0)
        self.assertIn("model.n_routed_experts (7)", self.read("job.log"))

    def check_call(self, *arguments, expected, **variables):
        self.check_end(self.start(*arguments, binary="/bin/true", SLURM_CPUS_PER_TASK="3", **variables), 0, requeues=0)
        self.assertEqual(self.read("mpirun.txt").splitlines()[-1], expected)

    def test_slurm_is_asked_to_signal_the_script_in_time_and_to_requeue(self):
        asked = re.findall(r"^#SBATCH (\S+)", SCRIPT.read_text(), re.MULTILINE)
        for option in ("--signal=B:USR1@300", "--requeue", "--open-mode=append"):
            self.assertIn(option, asked)

    def test_the_configuration_keeps_its_place_and_any_key_may_be_changed(self):
        self.check_call("made.yaml", "run.threads=2",
                        expected="--bind-to none --report-bindings /bin/true train made.yaml run.threads=2")
        self.check_call("finetune", "made.yaml",
                        expected="--bind-to none --report-bindings /bin/true finetune made.yaml run.threads=3")

    def test_ranks_have_cores_of_their_own_where_the_job_has_the_whole_host(self):
        every = os.sysconf("SC_NPROCESSORS_CONF")
        for cores, binding in ((every, "--map-by slot:PE=3 --bind-to core"), (every + 1, "--bind-to none")):
            self.check_call("made.yaml", SLURM_CPUS_ON_NODE=str(cores),
                            expected=f"{binding} --report-bindings /bin/true train made.yaml run.threads=3")

    def test_without_slurm_or_a_configuration_it_tells_how_it_is_used(self):
        for job in (self.start("made.yaml", SLURM_JOB_ID=""), self.start(), self.start("finetune")):
            self.check_end(job, code=2, requeues=0)
        self.assertEqual(self.read("job.log").count("usage: sbatch"), 3)


if __name__ == "__main__":
    unittest.main()
