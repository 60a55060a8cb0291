"""Exits 0 when every `name==version` of the given requirements file is installed, else names the others.

usage: wheels.py REQUIREMENTS.txt
"""

import importlib.metadata
import pathlib
import sys


def installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    lines = (line.split("#")[0].strip() for line in pathlib.Path(sys.argv[1]).read_text().splitlines())
    wanted = [line.split("==") for line in lines if line]
    missing = [f"{name}=={version}" for name, version in wanted if installed(name) != version]
    print(" ".join(missing))
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
