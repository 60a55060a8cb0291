"""The tables: as CSV with every digit, and as rows of short texts for Markdown and the page."""

import csv
import io
import json

from ablation import configuration

from .columns import ALSO, HELD_OUT, KV_CACHE, TABLE, TOLD, VIOLATIONS, shown


def results_csv(summaries):
    """One row a variant: NAME_mean, NAME_sd over seeds; NAME_difference, _low, _high paired with the baseline.

    Violations also as NAME_ratio, _ratio_low, _ratio_high: variant / baseline.
    """
    header = ["variant", "seeds"]
    for column in (*TABLE, *ALSO):
        header += [f"{column.name}_{what}" for what in ("mean", "sd", "difference", "low", "high")]
    for column in VIOLATIONS:
        header += [f"{column.name}_{what}" for what in ("ratio", "ratio_low", "ratio_high")]
    return as_csv(header, [result_values(summary) for summary in summaries])


def result_values(summary):
    row = [summary.variant, len(summary.seeds)]
    for column in (*TABLE, *ALSO):
        row += [summary.mean(column.name), summary.deviation(column.name), *bounds(summary.differences, column)]
    for column in VIOLATIONS:
        row += bounds(summary.ratios, column)
    return row


def bounds(changes, column):
    change = changes.get(column.name)
    return [change.mean, change.low, change.high] if change else [None] * 3


def runs_csv(summaries, runs):
    """One row a run."""
    columns, folders = (*TABLE, *ALSO), {(run.variant, run.seed): run for run in runs}
    return as_csv(["variant", "seed", "tokens", *(column.name for column in columns)],
                  [[summary.variant, seed, folders[summary.variant, seed].tokens,
                    *(summary.numbers[seed][column.name] for column in columns)]
                   for summary in summaries for seed in summary.seeds])


def as_csv(header, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value is None or value != value else value for value in row] for row in rows])
    return text.getvalue()


def cell(summary, column):
    mean, deviation = column.factor * summary.mean(column.name), column.factor * summary.deviation(column.name)
    text = shown(mean, column.digits)
    return text if deviation != deviation or mean != mean else f"{text} ± {shown(deviation, column.digits)}"


def difference_cell(summary, inert):
    difference = summary.differences.get(HELD_OUT.name)
    if difference is None:
        return "baseline"
    if summary.variant in inert:
        return "inert: the same bits"
    text = shown(difference.mean, HELD_OUT.digits, True)
    if len(difference.values) < 2:
        return f"{text} (one pair)"
    return f"{text} [{shown(difference.low, HELD_OUT.digits, True)}, {shown(difference.high, HELD_OUT.digits, True)}]"


def told_columns(summaries):
    """Those that stand after the held-out loss and its difference."""
    told = [column for column in TOLD if any(value == value for each in summaries
                                             for value in each.values(column.name))]
    return [*told, *TABLE[1:]]


def cache_cells(study, summaries):
    """A text a variant, where they do not all keep as much; else none."""
    sizes = [study["variants"][each.variant].get("kv_cache", {}).get("elements_per_token") for each in summaries]
    return [shown(size, 0) for size in sizes] if len(set(sizes)) > 1 else []


def result_rows(study, summaries, inert, floor):
    """Header, then a row a variant, then the noise floor where it is known. The header's second line is the unit."""
    columns = told_columns(summaries)
    header = ["variant", "seeds", HELD_OUT.title, "difference [95\u00a0%]", *(column.title for column in columns)]
    rows = [[summary.variant, str(len(summary.seeds)), cell(summary, HELD_OUT), difference_cell(summary, inert),
             *(cell(summary, column) for column in columns)] for summary in summaries]
    if floor:
        told = [shown(column.factor * floor[column.name], column.digits) if column.name in floor else ""
                for column in columns]
        rows.append(["random routing", "", "", "", *told])
    return with_cache(header, rows, cache_cells(study, summaries))


def with_cache(header, rows, cells):
    """A column of these texts, where there are any, after the difference in held-out loss."""
    if not cells:
        return header, rows
    cells = [KV_CACHE[0], *cells, *[""] * (len(rows) - len(cells))]
    header, *rows = [[*row[:4], text, *row[4:]] for row, text in zip([header, *rows], cells)]
    return header, rows


def value_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def configuration_rows(study, summaries):
    """Only the keys that are not the same in all variants."""
    names = [summary.variant for summary in summaries]
    varying = configuration.varying([study["variants"][name]["config"] for name in names])
    return ["key", *names], [[key, *map(value_text, values)] for key, values in varying.items()]


def definitions(header):
    """What the columns of the results mean."""
    meanings = dict([*((column.title, column.meaning) for column in (*TABLE, *TOLD)), KV_CACHE])
    return [(title, meanings[title]) for title in header if title in meanings]


def markdown_table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def markdown(study, results, keys, conclusions, left_out):
    parts = [f"# {study['name']}\n\n{study['question']}\n\n", markdown_table(*results), "\n",
             "Mean ± standard deviation over seeds; differences are paired by seed, with 95 % t intervals. Loads and "
             "traffic are means over the last 20 % of steps.\n"]
    if left_out:
        parts.append(f"\nNot finished and left out: {', '.join(left_out)}.\n")
    for title, sentences in (("What may be concluded", conclusions.may or ["Nothing."]),
                             ("What may not", conclusions.may_not)):
        parts.append(f"\n## {title}\n\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    if keys[1]:
        parts += ["\n## What the variants set\n\n", markdown_table(*keys)]
    return "".join(parts)
