"""report.html: everything in one file, plotly.js included once, nothing fetched."""

import importlib.util
import json
import pathlib
import re

from . import html, tables
from .columns import HELD_OUT, short

HERE = pathlib.Path(__file__).resolve().parent


def plotly_js():
    """Read from the package without importing it, which would take a second."""
    package = pathlib.Path(importlib.util.find_spec("plotly").origin).parent
    return (package / "package_data/plotly.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")


def facts(study, runs, summaries):
    active = sorted({study["variants"][each.variant]["parameters"]["active"] for each in summaries})
    sizes = " to ".join(short(size) for size in dict.fromkeys((active[0], active[-1])))
    seeds = sorted({run.seed for run in runs})
    return (f"{len(summaries)} variants, seeds {', '.join(map(str, seeds))}; {sizes} active parameters; "
            f"{short(runs[0].tokens)} tokens a run; baseline {study['baseline']}")


def notices(left_out, inert, study):
    texts = []
    if left_out:
        texts.append(f"{len(left_out)} of {len(study['runs'])} runs are not finished and left out: "
                     + ", ".join(left_out[:12]) + (" …" if len(left_out) > 12 else ""))
    if inert:
        texts.append(f"Inert: {', '.join(inert)}. The losses are bit for bit those of {study['baseline']}.")
    return "\n".join(f'<p class="notice">{html.escape(text)}</p>' for text in texts)


def result_section(content):
    header, rows = content.results
    classes = {(number, 3): "differs" for number, summary in enumerate(content.summaries)
               if summary.differences and summary.differences[HELD_OUT.name].excludes_zero}
    classes |= {(number, 0): "floor" for number, row in enumerate(rows) if number >= len(content.summaries)}
    return html.section("results", "Results", html.table("table-results", "results", header, rows, classes,
                                                         content.styles),
                        note="Mean ± standard deviation over seeds. Differences are paired by seed, with a 95 % t "
                             "interval, bold where it excludes 0. Loads and traffic: mean over the last 20 % of "
                             "steps.")


def conclusion_section(content):
    may = content.conclusions.may or ["Nothing: every interval includes no change."]
    return html.section("conclusions", "What this shows",
                        html.pair([html.card("May be concluded", may),
                                   html.card("May not be concluded", content.conclusions.may_not)]))


def figure_section(content, identity, title, note, before=""):
    found = [html.figure(each["id"], each["title"]) for each in content.figures if each["section"] == identity]
    return html.section(identity, title, before, html.pair(found), note=note) if found else ""


def routing_section(content):
    if not content.routing:
        return ""
    controls = ('<div class="controls">' + html.select("variant", "variant") + html.select("seed", "seed")
                + html.select("layer", "layer of the lower plots")
                + html.select("count", "device groups' share of") + html.slider("step", "training") + "</div>")
    parts = [controls, html.figure("load", "Load of each expert", "1 is a fair share; lines part the device groups")]
    lower = []
    if any("devices" in run for run in content.routing):
        lower.append(html.figure("devices", "Load of the device groups"))
    if any("lift" in run for run in content.routing):
        lower.append(html.figure("domains", "Experts that domains prefer", "1: as often as all domains together"))
    return html.section("routing", "Who is chosen", *parts, html.pair(lower) if lower else "",
                        note="One run at a time, before dropping. Experts have no common order across seeds.")


def configuration_section(content):
    header, rows = content.keys
    if not rows:
        return ""
    return html.section("configuration", "What the variants set",
                        html.table("table-keys", "configuration", header, rows),
                        note="Only the keys that are not the same in all of them.")


def about_section(content):
    study = content.study
    config = "\n".join(f"{key}: {tables.value_text(value)}" for key, value in
                       study["variants"][study["baseline"]]["config"].items())
    meanings = html.definitions(tables.definitions(content.results[0]))
    run = {"dsmoe": study.get("git"), "base recipe": study["base"], "ranks of a run": study["ranks"],
           "processor": f"{study.get('processor')}, {study.get('cores')} logical cores", **study.get("versions", {})}
    facts = html.definitions(run.items())
    commands = "\n".join(" ".join(entry["command"]) for entry in study["runs"])
    return html.section("about", "How it was measured", html.details("Definitions", meanings),
                        html.details("Versions and hardware", facts),
                        html.details("Configuration of the baseline", f"<pre>{html.escape(config)}</pre>"),
                        html.details("Commands", f"<pre>{html.escape(commands)}</pre>"))


def sections(content):
    joined = any(trace["mode"] == "lines" for each in content.figures if each["section"] == "front"
                 for trace in each["data"])
    yield result_section(content)
    yield conclusion_section(content)
    yield figure_section(content, "differences", "Differences to the baseline",
                         "A mark is the mean over seeds, a bar its 95 % interval, a tick one seed.")
    yield figure_section(content, "curves", "Over training",
                         "Lines are means over seeds, bands reach from the least to the largest seed; neighbouring "
                         "steps are averaged. The vertical scale leaves out the first quarter of training."
                         + (" Dotted: what perfectly random routing would show." if content.floor else ""),
                         html.chips(content.styles))
    yield figure_section(content, "interference", "Balance losses against everything else",
                         "Gradients on the weights of all routers, as one vector; drawn as above. Ratio 1: the balance "
                         "losses pull as hard as everything else on the router; cosine below 0: against it.")
    yield figure_section(content, "front", "Loss and balance",
                         "End of training; bars are one standard deviation over seeds."
                         + (" Dotted lines join variants that differ in one balance factor alone." if joined else ""))
    yield routing_section(content)
    yield figure_section(content, "visits", "Device groups a token visits", "Whiskers: least and largest seed.")
    yield figure_section(content, "specialisation", "Specialisation by domain",
                         "Jensen-Shannon divergence between the domains' choices, over its largest possible value.")
    yield configuration_section(content)
    yield about_section(content)


def page(content):
    data = json.dumps({"figures": content.figures, "routing": content.routing}, allow_nan=False, separators=(",", ":"))
    study = content.study
    parts = {"name": html.escape(study["name"]), "question": html.escape(study["question"]),
             "facts": html.escape(facts(study, content.runs, content.summaries)),
             "notices": notices(content.left_out, content.inert, study), "sections": "".join(sections(content)),
             "data": data.replace("</", "<\\/"), "plotly": plotly_js()}
    parts |= {kind: (HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)
