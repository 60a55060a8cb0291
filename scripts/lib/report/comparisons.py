"""Figures of the end of training: differences with intervals, loss against violation, devices a token visits."""

import numpy as np

from ablation import configuration

from . import statistics
from .columns import DEVICE_VIO, HELD_OUT, MAX_VIO
from .routing import specialisation, visit_share
from .runs import TAIL

FACTORS = ("balance.expert", "balance.device", "balance.communication")


def points(values, y, style, name):
    """Every seed as a small mark."""
    return {"type": "scatter", "mode": "markers", "x": values, "y": [y] * len(values), "name": name, "variant": name,
            "marker": {"color": f"{style['color']}/0.55", "symbol": "line-ns-open", "size": 9}, "showlegend": False,
            "hovertemplate": "one seed: %{x:.4f}<extra>" + name + "</extra>"}


def difference_figure(summaries, styles, inert, column, title):
    """Paired differences to the baseline, the interval as a bar, each seed as a tick."""
    data, shown = [], [each for each in summaries if each.differences and each.variant not in inert]
    for summary in shown:
        difference, style = summary.differences[column.name], styles[summary.variant]
        if not difference.values:
            continue
        width = 0 if difference.half_width != difference.half_width else difference.half_width
        data.append(points(difference.values, summary.variant, style, summary.variant))
        data.append({"type": "scatter", "mode": "markers", "x": [difference.mean], "y": [summary.variant],
                     "name": summary.variant, "showlegend": False,
                     "error_x": {"type": "data", "array": [width], "color": style["color"], "thickness": 2.5,
                                 "width": 7},
                     "marker": {"color": style["color"], "symbol": style["symbol"], "size": 10},
                     "hovertemplate": f"%{{x:+.4f}} ± {width:.4f}<extra>{summary.variant}</extra>"})
    if not data:
        return None
    names = [summary.variant for summary in shown][::-1]
    zero = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0,
            "line": {"color": "@muted", "width": 1.5}}
    return {"id": f"difference-{column.name.replace('_', '-')}", "title": title, "data": data,
            "height": 130 + 42 * len(names),
            "layout": {"xaxis": {"title": {"text": "variant − baseline"}}, "shapes": [zero],
                       "yaxis": {"categoryorder": "array", "categoryarray": names, "automargin": True}}}


def factor_lines(study, summaries):
    """Sets of at least three variants that differ in one balance factor alone: [(factor, [variant by its value])]."""
    groups = {}
    for summary in summaries:
        config = study["variants"][summary.variant]["config"]
        for factor in FACTORS:
            rest = configuration.digest({key: value for key, value in config.items() if key != factor})
            groups.setdefault((factor, rest), []).append((float(config[factor]), summary.variant))
    return [(factor, [name for _, name in sorted(members)]) for (factor, _), members in groups.items()
            if len(members) > 2]


def text_places(spots):
    """{name: (x, y)} -> where a mark's name stands: away from the middle in height, towards it in width."""
    middle, right = sorted(y for _, y in spots.values())[len(spots) // 2], max(x for x, _ in spots.values())

    def place(x, y):
        across = "left" if x > 0.6 * right else "right" if x < 0.2 * right else "center"
        return f"{'top' if y >= middle else 'bottom'} {across}"

    return {name: place(*spot) for name, spot in spots.items()}


def line_trace(factor, names, spots):
    return {"type": "scatter", "mode": "lines", "name": f"numbers: {factor}", "hoverinfo": "skip", "showlegend": True,
            "x": [spots[name][0] for name in names], "y": [spots[name][1] for name in names],
            "line": {"color": "@muted", "dash": "dot", "width": 1.5}}


def mark_trace(summary, column, style, spot, text, place):
    """A variant, with one standard deviation over seeds in both directions."""
    bars = {}
    for axis, each in (("x", column), ("y", HELD_OUT)):
        deviation = summary.deviation(each.name)
        bars[f"error_{axis}"] = {"type": "data", "array": [0 if deviation != deviation else deviation], "width": 3,
                                 "color": f"{style['color']}/0.6", "thickness": 1.2}
    return {"type": "scatter", "mode": "markers+text", "name": summary.variant, "text": [text], "textposition": place,
            "x": [spot[0]], "y": [spot[1]], "showlegend": False, "cliponaxis": False, **bars,
            "marker": {"color": style["color"], "symbol": style["symbol"], "size": 11},
            "hovertemplate": f"{column.title} %{{x:.3f}}<br>loss %{{y:.4f}}<extra>{summary.variant}</extra>"}


def front_figure(study, summaries, styles, column):
    """Loss against violation. A variant on a line along one factor is told by that factor's value."""
    spots = {each.variant: (each.mean(column.name), each.mean(HELD_OUT.name)) for each in summaries}
    if any(x != x for x, _ in spots.values()):
        return None
    lines, places, texts = factor_lines(study, summaries), text_places(spots), {name: name for name in spots}
    if len(lines) == 1:
        factor, names = lines[0]
        texts |= {name: f"{study['variants'][name]['config'][factor]:g}" for name in names}
    data = [line_trace(factor, names, spots) for factor, names in lines]
    data += [mark_trace(each, column, styles[each.variant], spots[each.variant], texts[each.variant],
                        places[each.variant]) for each in summaries]
    return {"id": f"front-{column.name.replace('_', '-')}", "title": f"Loss against {column.title}", "data": data,
            "layout": {"xaxis": {"title": {"text": f"{column.title} (0: even)"}, "rangemode": "tozero"},
                       "yaxis": {"title": {"text": "held-out loss"}}, "showlegend": len(lines) == 1,
                       "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}}}


def bars(identity, title, rows, unit, x_title, styles):
    """rows: {variant: one row of values a seed}. The mean as a bar, from least to largest as a whisker.

    Rows of one number stand over their variant's name, longer ones over 0, 1, ... with a legend.
    """
    data = []
    for name, values in rows.items():
        values = np.array(values, dtype=float)
        mean, alone = values.mean(0), values.shape[1] == 1
        data.append({"type": "bar", "name": name, "variant": name, "y": mean.tolist(),
                     "x": [name] if alone else list(range(len(mean))),
                     "marker": {"color": styles[name]["color"]}, "showlegend": not alone,
                     "error_y": {"type": "data", "array": (values.max(0) - mean).tolist(), "thickness": 1.2, "width": 2,
                                 "arrayminus": (mean - values.min(0)).tolist(), "symmetric": False, "color": "@muted"},
                     "hovertemplate": "%{y:.3f}<extra>" + name + "</extra>"})
    return {"id": identity, "title": title, "data": data,
            "layout": {"barmode": "overlay" if alone else "group", "xaxis": {"title": {"text": x_title}, "dtick": 1},
                       "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}, "bargap": 0.35,
                       "yaxis": {"title": {"text": unit}, "rangemode": "tozero"}}}


def visits_figure(runs, styles):
    rows = {}
    for run in runs:
        if run.routing and run.routing.visits_SLV.shape[2]:
            rows.setdefault(run.variant, []).append(visit_share(run.routing, TAIL))
    if len({len(row) for values in rows.values() for row in values}) != 1:
        return None
    return bars("visits", "End of training", rows, "share of tokens and layers", "device groups", styles)


def held_out_specialisation(runs):
    return [statistics.specialisation(run.evaluations[-1][1]) for run in runs]


def training_specialisation(runs):
    return [specialisation(run.routing, TAIL) if run.routing else np.nan for run in runs]


def specialisation_figure(runs, styles):
    """On the held-out text where every run tells it, else on the training data: never both side by side."""
    values, where = held_out_specialisation(runs), "held-out text, after the last step"
    if np.isnan(values).any():
        values, where = training_specialisation(runs), "training data, last 20 % of steps"
    rows = {}
    for run, value in zip(runs, values):
        if value == value:
            rows.setdefault(run.variant, []).append([value])
    if not rows:
        return None
    return bars("specialisation", f"How differently the domains choose their experts ({where})", rows,
                "0: alike, 1: apart", "", styles)


def figures(study, runs, summaries, styles, inert):
    """[(section, figure)]; those that the data do not allow are left out."""
    found = [("differences", difference_figure(summaries, styles, inert, HELD_OUT, "Difference in held-out loss")),
             ("differences", difference_figure(summaries, styles, inert, MAX_VIO, "Difference in MaxVio")),
             ("front", front_figure(study, summaries, styles, MAX_VIO)),
             ("front", front_figure(study, summaries, styles, DEVICE_VIO)),
             ("visits", visits_figure(runs, styles)), ("specialisation", specialisation_figure(runs, styles))]
    return [(section, figure) for section, figure in found if figure]
