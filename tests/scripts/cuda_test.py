"""scripts/test --cuda on a machine without a device, and scripts/check-cuda where something fails."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class NoDevice(unittest.TestCase):
    def test_it_says_so_before_anything_is_installed_or_built(self):
        with tempfile.TemporaryDirectory() as folder:
            shown = pathlib.Path(folder) / "nvidia-smi"
            shown.write_text("#!/bin/sh\nexit 9\n")
            shown.chmod(0o755)
            done = subprocess.run([ROOT / "scripts/test", "--cuda"], capture_output=True, text=True, check=False,
                                  env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, timeout=30)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, "^error: no CUDA device: .*\nhint: scripts/check-cuda ")


class BrokenBuild(unittest.TestCase):
    def test_a_step_that_fails_ends_the_check(self):
        with tempfile.TemporaryDirectory() as folder:
            cmake = pathlib.Path(folder) / "cmake"
            cmake.write_text("#!/bin/sh\nexit 1\n")
            cmake.chmod(0o755)
            done = subprocess.run([ROOT / "scripts/check-cuda", "conformance", "product"], capture_output=True, text=True,
                                  check=False, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("check-cuda: conformance", done.stdout)
        self.assertNotIn("check-cuda: product", done.stdout)
        self.assertNotIn("passed", done.stdout)
        self.assertLessEqual(done.stderr.count("failed: "), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
