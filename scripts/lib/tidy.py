"""Runs clang-tidy on those of the given sources that a build folder compiles; exits 1 when it finds anything.

usage: tidy.py BUILD_FOLDER SOURCE...
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

# The compile commands are GCC's, and GCC gives the warnings: clang only runs the checks.
COMMAND = [".venv/bin/clang-tidy", "--quiet", "--extra-arg=-w", "-p"]


def compiled(build):
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    return {pathlib.Path(entry["directory"], entry["file"]).resolve() for entry in entries}


def tidy(build, source):
    run = subprocess.run([*COMMAND, str(build), source], capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stdout + (run.stderr if run.returncode else "")


def main():
    build, sources = pathlib.Path(sys.argv[1]), sys.argv[2:]
    known = compiled(build)
    chosen = [source for source in sources if pathlib.Path(source).resolve() in known]
    clean = True
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for good, output in pool.map(lambda source: tidy(build, source), chosen):
            print(output, end="")
            clean = clean and good
    print(f"    clang-tidy looked at {len(chosen)} of {len(sources)} files; {build} does not compile the others")
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
