"""Checks that the floors keep their rules; prints FILE:LINE per finding and exits 1 when there is one.

usage: floors.py        (from the repository's root; reads the files that git tracks)

trainer -> modules -> parallel -> configs and trainer -> data -> configs are the only arrows. mpi.h,
nccl.h, pcre2.h and yaml-cpp stand in one file each, a source or a header NAME_library.h that only files NAME_* include;
a model's code never asks which device it is on; spdlog only in trainer, torch/torch.h in no file (the precompiled header brings it). Libraries neither print nor log nor end the process.
"""

import collections
import pathlib
import re
import subprocess
import sys

BELOW = {
    "configs": set(),
    "data": {"configs"},
    "parallel": {"configs"},
    "modules": {"parallel", "configs"},
    "trainer": {"configs", "data", "parallel", "modules"},
}
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
ONE_FILE_EACH = ("mpi.h", "nccl.h", "pcre2.h", "yaml-cpp")
FLOOR_WITHOUT = {"configs": ("torch/", "ATen/", "c10/"), "data": ("torch/",), "parallel": ("torch/nn",)}
ENDS_OR_PRINTS = re.compile(
    r"\bstd::(?:cout|cerr|clog|exit|abort|terminate|quick_exit)\b"
    r"|(?<![\w:.>])(?<!void )(?:printf|fprintf|puts|exit|_exit|abort)\s*\("
)
COMMENT_OR_STRING = re.compile(
    r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
)
ASKS_FOR_DEVICE = re.compile(r"\bis_(?:cpu|cuda|privateuseone)\s*\(|\bkCUDA\b|\bdevice\(\)\.type\(|\bdevice_type\(")
# What computes asks the one place that chooses kernels; weights are drawn on the host wherever they are kept.
CHOOSES_BY_DEVICE = {"modules/own_kernels.cpp", "modules/parameter_store.cpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')


def tracked():
    """Tracked or new source files, ignored ones left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = (pathlib.Path(name) for name in names)
    return sorted(path for path in paths if path.suffix in SOURCES and path.parts[0] in BELOW and path.is_file())


def blanked(text):
    """The text with comments and string literals blanked, line breaks kept."""
    return COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def single_home(header):
    """The name under ONE_FILE_EACH that this include counts for, or None."""
    for name in ONE_FILE_EACH:
        if header == name or header.startswith(name + "/"):
            return name
    return None


def include_findings(floor, header):
    target = header.split("/")[0]
    if target in BELOW and target != floor and target not in BELOW[floor]:
        yield f"{floor} must not include {header}: it may see {', '.join(sorted(BELOW[floor])) or 'no other floor'}"
    if header in ("torch/torch.h", "torch/all.h", "torch/extension.h"):
        yield f"{header} belongs to the precompiled header only"
    if header.startswith(("spdlog/", "fmt/")) and floor != "trainer":
        yield f"{header} belongs to trainer only"
    if header.startswith(FLOOR_WITHOUT.get(floor, ())):
        yield f"{floor} must not include {header}"


def library_findings(path, header):
    match = re.search(r"(\w+)_library\.h$", header)
    if match and not path.name.startswith(match.group(1) + "_"):
        yield f"{header} is for files {match.group(1)}_* only"


def is_public_header(place):
    return ".cuh:" in place or (".h:" in place and "_library.h:" not in place)


def file_findings(path, homes):
    floor = path.parts[0]
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            home = single_home(match.group(1))
            if home:
                homes[home].add(f"{path}:{number}")
            for finding in (*include_findings(floor, match.group(1)), *library_findings(path, match.group(1))):
                yield number, finding
    code = blanked(text)
    if floor == "modules" and str(path) not in CHOOSES_BY_DEVICE:
        for match in ASKS_FOR_DEVICE.finditer(code):
            yield code.count("\n", 0, match.start()) + 1, "a model's code must not ask for its device: has_own_kernels does"
    if floor != "trainer":
        for match in ENDS_OR_PRINTS.finditer(code):
            yield code.count("\n", 0, match.start()) + 1, f"a library must not print or end the process: {match.group()}"


def main():
    homes = collections.defaultdict(set)
    findings = [f"{path}:{number}: {finding}" for path in tracked() for number, finding in file_findings(path, homes)]
    for name, places in sorted(homes.items()):
        if len({place.split(":")[0] for place in places}) > 1:
            findings.extend(f"{place}: {name} belongs to one source file only" for place in sorted(places))
        findings.extend(f"{place}: {name} must not stand in a header" for place in sorted(places) if is_public_header(place))
    print("\n".join(findings), end="\n" if findings else "")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
