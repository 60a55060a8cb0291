"""Curves over training: the mean over seeds as a line, from the least to the largest as a band."""

import numpy as np

WINDOWS = 80  # points of a curve
OVER_STEPS = (("loss", "training loss", None, "Training loss"),
              ("max_vio", "MaxVio", "max_vio", "Violation of experts (MaxVio)"),
              ("device_vio", "device violation", "device_vio", "Violation of device groups"),
              ("received_vio", "received violation", "received_vio", "Violation of the rows that groups receive"),
              ("drop_rate", "share of pairs dropped", None, "Dropped"),
              ("devices_per_token", "device groups", "devices_per_token", "Device groups a token visits"),
              ("dead", "experts", "dead", "Dead experts, all layers"))
INTERFERENCE = (("interference_ratio", "ratio of gradient norms", "Pull of the balance losses"),
                ("interference_cosine", "cosine of gradients", "Direction of that pull"))


def windows(values):
    """Means over up to WINDOWS equal stretches."""
    return np.array([np.nanmean(part) if not np.isnan(part).all() else np.nan
                     for part in np.array_split(values, min(WINDOWS, len(values)))])


def rounded(values):
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values]


def traces(name, x, rows, style):
    """A band and a line. The page shows or hides both by `variant`."""
    low, high, mean = np.min(rows, 0), np.max(rows, 0), np.mean(rows, 0)
    common = {"type": "scatter", "mode": "lines", "variant": name, "name": name}
    band = {**common, "x": rounded(np.concatenate([x, x[::-1]])), "y": rounded(np.concatenate([high, low[::-1]])),
            "fill": "toself", "fillcolor": f"{style['color']}/0.18", "line": {"width": 0}, "hoverinfo": "skip"}
    line = {**common, "x": rounded(x), "y": rounded(mean),
            "line": {"color": style["color"], "dash": style["dash"], "width": style["width"]}}
    return [band, line] if len(rows) > 1 else [line]


def floor_line(value):
    """A dotted level, told in words above it."""
    return {"shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value,
                        "line": {"color": "@muted", "dash": "dot", "width": 1.5}}],
            "annotations": [{"xref": "paper", "x": 1, "xanchor": "right", "y": value, "yanchor": "bottom",
                             "text": "random routing", "showarrow": False, "font": {"color": "@muted", "size": 11}}]}


def scale(rows, floor):
    """From least to largest over training but its first quarter, which is steep."""
    late = np.concatenate([np.ravel(each[:, each.shape[1] // 4:]) for each in rows])
    low, high = np.nanmin(late), np.nanmax(late)
    if floor is not None:
        low, high = min(low, floor), max(high, floor)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return [float(low - pad), float(high + pad)]


def figure(identity, title, unit, curves, styles, floor=None):
    """curves: {variant: (tokens seen, a row a seed)}. None where no run tells this number."""
    told = {name: (x, rows) for name, (x, rows) in curves.items() if not np.isnan(rows).all()}
    if not told:
        return None
    layout = {"yaxis": {"title": {"text": unit}, "range": scale([rows for _, rows in told.values()], floor)},
              "xaxis": {"title": {"text": "tokens seen"}, "tickformat": "~s"}, "showlegend": False}
    return {"id": identity, "title": title, "layout": layout | (floor_line(floor) if floor is not None else {}),
            "data": [trace for name, (x, rows) in told.items() for trace in traces(name, x, rows, styles[name])]}


def by_variant(runs, x_of, row_of):
    """The seeds of a variant take the same steps; variants may differ in the size of theirs."""
    grouped = {}
    for run in runs:
        grouped.setdefault(run.variant, []).append(run)
    return {name: (np.array(x_of(members[0]), dtype=float), np.array([row_of(run) for run in members], dtype=float))
            for name, members in grouped.items()}


def evaluation_figure(runs, styles, held_out):
    if any(len(run.evaluations) < 2 for run in runs):
        return None
    curves = by_variant(runs, lambda run: [tokens for tokens, _ in run.evaluations],
                        lambda run: [held_out(evaluation) for _, evaluation in run.evaluations])
    return figure("held-out", "Held-out loss", "nats per token", curves, styles)


def step_figure(runs, styles, floor, name, unit, key, title):
    curves = by_variant(runs, lambda run: windows(run.series["tokens"]), lambda run: windows(run.series[name]))
    if name in ("drop_rate", "dead") and not any(np.nanmax(rows, initial=0) for _, rows in curves.values()):
        return None
    return figure(name.replace("_", "-"), title, unit, curves, styles, floor.get(key) if key else None)


def at_told_steps(tokens, rows):
    """Where any seed tells a number."""
    told = ~np.isnan(rows).all(0)
    return windows(tokens[told]), np.array([windows(row[told]) for row in rows])


def sparse_figure(runs, styles, name, unit, title):
    """Of what some steps tell and some variants never do. None where no variant tells it twice."""
    curves = by_variant(runs, lambda run: run.series["tokens"], lambda run: run.series[name])
    curves = {variant: at_told_steps(*curve) for variant, curve in curves.items()
              if np.count_nonzero(~np.isnan(curve[1]).all(0)) > 1}
    return figure(name.replace("_", "-"), title, unit, curves, styles)


def interference_figures(runs, styles):
    found = [sparse_figure(runs, styles, *each) for each in INTERFERENCE]
    return [each for each in found if each]


def figures(runs, styles, floor, held_out):
    """The held-out loss, then what each step tells."""
    found = [evaluation_figure(runs, styles, held_out)]
    found += [step_figure(runs, styles, floor, *each) for each in OVER_STEPS]
    return [each for each in found if each]
