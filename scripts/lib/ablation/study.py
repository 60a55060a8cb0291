"""The study file: its keys, and what is wrong with them. All that is found wrong is told at once.

  name: balance             letters, digits, _ and -; the folder below runs/studies
  question: ...             one sentence, the headline of the report
  base: base.yaml           a dsmoe recipe, beside the study, else relative to the working directory
  seeds: [1, 2, 3]          each variant runs with each; equal seeds give equal data and initial weights
  baseline: none            the variant that the others are compared with
  variants:                 what each changes in the base; {} changes nothing
    none: {balance.expert: 0}
    all: {}
  grid:                     optional: every variant with every combination of these values
    drop.capacity: [1, 2]
  ranks: 1                  optional: processes of a run; above 1 under mpirun
  directory: runs/mine      optional: where the runs go (default runs/studies/NAME)
"""

import dataclasses
import itertools
import pathlib
import re

import yaml

from .errors import BadInput, nearest
from .yaml_tree import entries, flow, is_null, line_of, read

REQUIRED = ("name", "question", "base", "seeds", "baseline", "variants")
KEYS = (*REQUIRED, "grid", "ranks", "directory")
OWN = {"run.name": "variants", "run.directory": "directory", "run.seed": "seeds", "run.resume": None,
       "run.allow_change": None}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*$")
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]*$")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One key=value, and the line of the study that asks for it."""
    value: str
    line: int


@dataclasses.dataclass(frozen=True)
class Point:
    """A variant, at one point of the grid where there is one."""
    name: str
    line: int
    settings: dict  # dotted key -> Setting


@dataclasses.dataclass(frozen=True)
class Study:
    path: pathlib.Path
    name: str
    question: str
    base: pathlib.Path
    seeds: list
    baseline: str
    points: list
    ranks: int
    directory: pathlib.Path


class Reader:
    """Collects what is wrong while it reads one study."""

    def __init__(self, path):
        self.path = path
        self.problems = []
        self.entries = entries(read(path), path)

    def complain(self, line, text):
        self.problems.append(f"{self.path}:{line}: {text}")

    def check_keys(self):
        for key, entry in self.entries.items():
            if key not in KEYS:
                self.complain(entry.line, f"{key}: unknown key{nearest(key, KEYS)}")
        for key in REQUIRED:
            if key not in self.entries:
                self.complain(1, f"{key} is missing")

    def text(self, key, default=""):
        entry = self.entries.get(key)
        if entry is None:
            return default
        if not isinstance(entry.node, yaml.ScalarNode) or is_null(entry.node) or not entry.node.value.strip():
            self.complain(entry.line, f"{key}: must be a text that is not empty")
            return default
        return entry.node.value.strip()

    def whole(self, node, key, least):
        value = node.value if isinstance(node, yaml.ScalarNode) else ""
        if not re.fullmatch(r"\d{1,18}", value) or int(value) < least:
            self.complain(line_of(node), f"{key}: must be an integer >= {least}, not {flow(node)}")
            return least
        return int(value)

    def items(self, key, entry):
        """The values of a list that is not empty and holds nothing twice."""
        if not isinstance(entry.node, yaml.SequenceNode) or not entry.node.value:
            self.complain(entry.line, f"{key}: must be a list that is not empty")
            return []
        words = [flow(node) for node in entry.node.value]
        for word in {word for word in words if words.count(word) > 1}:
            self.complain(entry.line, f"{key}: {word} stands twice")
        return entry.node.value

    def map(self, key):
        entry = self.entries.get(key)
        if entry is None:
            return {}
        if not isinstance(entry.node, yaml.MappingNode) or not entry.node.value:
            self.complain(entry.line, f"{key}: must be a map that is not empty")
            return {}
        return entries(entry.node, self.path)

    def setting_key(self, key, line):
        if key in OWN:
            instead = OWN[key]
            self.complain(line, f"{key}: " + (f"is set by the study's own {instead}" if instead
                                              else "cannot be part of a study"))
        elif "." not in key:
            self.complain(line, f"{key}: must be a dotted key, such as balance.expert")

    def variant(self, name, entry):
        if not VARIANT.match(name):
            self.complain(entry.line, f"variants.{name}: a name has letters, digits, and _ + . - inside")
        if is_null(entry.node):
            return {}
        if not isinstance(entry.node, yaml.MappingNode):
            self.complain(entry.line, f"variants.{name}: must be a map of dotted keys, or {{}}")
            return {}
        changes = entries(entry.node, self.path)
        for key, change in changes.items():
            self.setting_key(key, change.line)
        return {key: Setting(flow(change.node), change.line) for key, change in changes.items()}

    def grid(self):
        """One {key: Setting} for each combination; one empty combination without a grid."""
        axes = []
        for key, entry in self.map("grid").items():
            self.setting_key(key, entry.line)
            axes.append([(key, Setting(flow(node), entry.line)) for node in self.items(f"grid.{key}", entry)])
        return [dict(combination) for combination in itertools.product(*axes)]

    def points(self):
        combinations, points = self.grid(), []
        for name, entry in self.map("variants").items():
            settings = self.variant(name, entry)
            for key in settings.keys() & combinations[0].keys() if combinations else ():
                self.complain(settings[key].line, f"variants.{name}: {key} is also an axis of the grid")
            points += [Point(name + suffix(combination), entry.line, settings | combination)
                       for combination in combinations]
        return points

    def baseline(self, points):
        name, names = self.text("baseline"), [point.name for point in points]
        if name and names and name not in names:
            self.complain(self.entries["baseline"].line,
                          f"baseline: there is no variant {name}{nearest(name, names)}; there are {', '.join(names)}")
        return name

    def base(self):
        name = self.text("base")
        tried = [self.path.parent / name, pathlib.Path(name)]
        found = next((path for path in tried if path.is_file()), None)
        if name and not found:
            self.complain(self.entries["base"].line,
                          f"base: no file {name}; tried {' and '.join(map(str, dict.fromkeys(tried)))}")
        return found

    def study(self):
        self.check_keys()
        name, points = self.text("name"), self.points()
        if name and not NAME.match(name):
            self.complain(self.entries["name"].line, f"name: letters, digits, _ and - only, not {name}")
        seeds = [self.whole(node, "seeds", 0) for node in self.items("seeds", self.entries["seeds"])] \
            if "seeds" in self.entries else []
        ranks = self.whole(self.entries["ranks"].node, "ranks", 1) if "ranks" in self.entries else 1
        study = Study(self.path, name, self.text("question"), self.base(), seeds, self.baseline(points), points, ranks,
                      pathlib.Path(self.text("directory", f"runs/studies/{name}")))
        if self.problems:
            raise BadInput("\nerror: ".join(self.problems), "scripts/ablate --help shows a study with all its keys")
        return study


def suffix(combination):
    """balance.expert: 0.01 and drop.capacity: 2 become @expert=0.01,capacity=2."""
    if not combination:
        return ""
    lasts = [key.rsplit(".", 1)[1] for key in combination]
    short = len(set(lasts)) == len(lasts)
    words = [f"{last if short else key}={re.sub(r'[^A-Za-z0-9_+.-]+', '-', setting.value).strip('-')}"
             for last, (key, setting) in zip(lasts, combination.items())]
    return "@" + ",".join(words)


def read_study(path):
    return Reader(pathlib.Path(path)).study()
