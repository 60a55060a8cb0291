"""scripts/test --cuda on a machine without a device, and scripts/check-cuda where something fails."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_with(command, fake, *arguments):
    """The script, where another program stands for `command`."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / command
        program.write_text(fake)
        program.chmod(0o755)
        return subprocess.run([ROOT / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, timeout=60)


class NoDevice(unittest.TestCase):
    def test_it_says_so_before_anything_is_installed_or_built(self):
        done = run_with("nvidia-smi", "#!/bin/sh\nexit 9\n", "scripts/test", "--cuda")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, "^error: no CUDA device: .*\nhint: scripts/check-cuda ")


class BrokenBuild(unittest.TestCase):
    def test_a_step_that_fails_ends_the_check(self):
        done = run_with("cmake", "#!/bin/sh\nexit 1\n", "scripts/check-cuda", "conformance", "product")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("check-cuda: conformance", done.stdout)
        self.assertNotIn("check-cuda: product", done.stdout)
        self.assertNotIn("passed", done.stdout)
        self.assertLessEqual(done.stderr.count("failed: "), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
