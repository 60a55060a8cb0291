"""scripts/lib/floors.py finds what the floors forbid, and nothing in what they allow."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/lib/floors.py"


class FloorsTest(unittest.TestCase):

    def findings(self, **files):
        """Of a tree of files; a name's first underscore stands for a slash, its last for a dot."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "-q", folder], check=True)
            for name, text in files.items():
                floor, rest = name.split("_", 1)
                path = pathlib.Path(folder, floor, ".".join(rest.rsplit("_", 1)))
                path.parent.mkdir(exist_ok=True)
                path.write_text(text + "\n")
            done = subprocess.run([sys.executable, SCRIPT], cwd=folder, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        self.assertEqual(done.returncode, 1 if lines else 0, done)
        return lines

    def assert_refused(self, expected, **files):
        found = self.findings(**files)
        self.assertTrue(found)
        for line in found:
            self.assertIn(expected, line)

    def test_arrows_point_down(self):
        self.assertEqual(self.findings(trainer_a_cpp='#include "modules/b.h"', modules_b_h='#include "parallel/c.h"'), [])
        self.assert_refused("modules/b.h:1: modules must not include trainer/a.h", modules_b_h='#include "trainer/a.h"')
        self.assert_refused("parallel/b.h:1: parallel must not include modules/a.h", parallel_b_h='#include "modules/a.h"')

    def test_a_library_has_one_home(self):
        self.assertEqual(self.findings(parallel_mpi_cpp="#include <mpi.h>"), [])
        self.assert_refused("mpi.h belongs to one source file only", parallel_mpi_cpp="#include <mpi.h>",
                            parallel_other_cpp="#include <mpi.h>")
        self.assert_refused("mpi.h must not stand in a header", parallel_mpi_h="#include <mpi.h>")

    def test_libraries_are_silent(self):
        for line in ("std::cout << 1;", "exit(1);", "printf(x);"):
            self.assert_refused("a library must not print or end the process", modules_a_cpp=line)
            self.assertEqual(self.findings(trainer_a_cpp=line), [])
        self.assertEqual(self.findings(modules_a_cpp="// std::cout\nconst char* s = \"exit(1)\";"), [])

    def test_a_models_code_does_not_ask_for_its_device(self):
        for line in ("if (x.is_cpu()) f();", "if (x.is_cuda()) f();", "f(x.device().type() == y);", "f(at::kCUDA);"):
            self.assert_refused("a model's code must not ask for its device", modules_a_cpp=line)
            for allowed in ("trainer_a_cpp", "modules_own_kernels_cpp"):
                self.assertEqual(self.findings(**{allowed: line}), [])


if __name__ == "__main__":
    unittest.main()
