"""The texts that Debian packages hold: a dictionary's entries, the standard library of the system's Python."""

import base64
import gzip
import os
import subprocess
import zlib
from pathlib import Path

DICTD = Path("/usr/share/dictd")
PYTHON = "/usr/bin/python3"
SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


class MissingPackage(Exception):
    """What is wrong, and in a second line how to install it."""

    def __init__(self, packages, problem="its Debian package is not installed"):
        super().__init__(f"{problem}.\nhint: sudo apt-get install {packages}")


def tidy(text):
    """Without trailing blanks on any line, and without blank lines at either end."""
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip("\n")


def texts(contents):
    """The contents that are UTF-8, tidied, in their order."""
    for content in contents:
        try:
            yield tidy(content.decode("utf-8"))
        except UnicodeDecodeError:
            continue


def dictd_number(digits):
    """A dictd index writes numbers in base 64, most significant digit first."""
    padded = digits.rjust(-(-len(digits) // 4) * 4, "A")
    return int.from_bytes(base64.b64decode(padded), "big")


def dictd_spans(index):
    """Offset and length of each entry; entries with several headwords stand once."""
    spans = set()
    for line in index.read_text(encoding="utf-8").splitlines():
        headword, offset, length = line.split("\t")[:3]
        if not headword.startswith("00-"):
            spans.add((dictd_number(offset), dictd_number(length)))
    return spans


def dictionary(folder=DICTD):
    """Each entry of dict-gcide once, as bytes, in the file's order."""
    index, data = folder / "gcide.index", folder / "gcide.dict.dz"
    if not (index.exists() and data.exists()):
        raise MissingPackage("dict-gcide")
    try:
        spans, content = dictd_spans(index), gzip.decompress(data.read_bytes())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MissingPackage("--reinstall dict-gcide", f"its Debian package cannot be read ({error})") from error
    for offset, length in sorted(spans):
        yield content[offset : offset + length]


def standard_library_folder():
    query = "import sysconfig; print(sysconfig.get_paths()['stdlib'])"
    try:
        out = subprocess.run([PYTHON, "-c", query], stdout=subprocess.PIPE, check=True).stdout
    except FileNotFoundError as error:
        raise MissingPackage("python3 libpython3-stdlib") from error
    return Path(out.decode().strip())


def standard_library(root=None):
    """Each source file as bytes, in the order of the paths; tests and installed packages left out."""
    root = root or standard_library_folder()
    if not (root / "asyncio").is_dir():
        raise MissingPackage("libpython3-stdlib")
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    for path in sorted(files):
        if not path.is_symlink():
            yield path.read_bytes()
