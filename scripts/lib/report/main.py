"""What scripts/report does with its argument."""

import argparse
import dataclasses
import pathlib

from ablation.errors import BadInput, say

from . import comparisons, curves, guards, page, routing_data, tables
from .conclusions import conclude, noise_floor
from .runs import read_study
from .statistics import held_out, summaries
from .styles import styles


@dataclasses.dataclass(frozen=True)
class Content:
    """All that a report tells."""
    study: dict
    runs: list
    summaries: list
    inert: list
    floor: dict      # what perfectly random routing would show
    left_out: list
    conclusions: object
    results: tuple   # header, rows
    keys: tuple      # header, rows
    figures: list    # each with id, title, section, data, layout
    routing: list
    styles: dict     # variant -> its colour, dash and marker


def content_of(directory):
    study, runs = read_study(directory)
    guards.check_comparable(runs)
    inert, floor, found = guards.inert(study, runs), noise_floor(runs), summaries(study, runs)
    look = styles([summary.variant for summary in found], study["baseline"])
    figures = [{"section": "curves", **figure} for figure in curves.figures(runs, look, floor, held_out)]
    figures += [{"section": "interference", **figure} for figure in curves.interference_figures(runs, look)]
    figures += [{"section": section, **figure}
                for section, figure in comparisons.figures(study, runs, found, look, inert)]
    return Content(study, runs, found, inert, floor, guards.unfinished(study, runs),
                   conclude(study, runs, found, inert, floor),
                   tables.result_rows(study, found, inert, floor), tables.configuration_rows(study, found), figures,
                   routing_data.of_runs(runs), look)


def write(path, text):
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def run(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path, metavar="DIR")
    directory = parser.parse_args().directory
    if not directory.is_dir():
        raise BadInput(f"{directory}: no such folder", "give a study's folder, such as runs/studies/NAME")
    content = content_of(directory)
    write(directory / "results.csv", tables.results_csv(content.summaries))
    write(directory / "runs.csv", tables.runs_csv(content.summaries, content.runs))
    write(directory / "results.md", tables.markdown(content.study, content.results, content.keys, content.conclusions,
                                                    content.left_out))
    write(directory / "report.html", page.page(content))
    for name in content.inert:
        say(f"warning: {name} is an inert switch: its losses are bit for bit those of {content.study['baseline']}")
    if content.left_out:
        say(f"note: not finished and left out: {', '.join(content.left_out)}")
    print(tables.markdown_table(*content.results), end="")
    print(f"wrote {directory}/report.html, results.md, results.csv, runs.csv")
