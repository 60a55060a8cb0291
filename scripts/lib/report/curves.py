"""Curves over training: the mean over seeds as a line, from the least to the largest as a band."""

import numpy as np

WINDOWS = 80  # points of a curve
OVER_STEPS = (("loss", "training loss", None, "Training loss"),
              ("max_vio", "MaxVio", "max_vio", "Violation of experts (MaxVio)"),
              ("device_vio", "device violation", "device_vio", "Violation of device groups"),
              ("drop_rate", "share of pairs dropped", None, "Dropped"),
              ("devices_per_token", "device groups", "devices_per_token", "Device groups a token visits"),
              ("dead", "experts", "dead", "Dead experts, all layers"))


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


def figure(identity, title, unit, by_variant, x, styles, floor=None):
    """None where no run tells this number. The scale leaves out the first quarter of training, which is steep."""
    data = [trace for name, rows in by_variant.items() if not np.isnan(rows).all()
            for trace in traces(name, x, rows, styles[name])]
    if not data:
        return None
    late = np.concatenate([np.ravel(rows[:, rows.shape[1] // 4:]) for rows in by_variant.values()])
    low, high = np.nanmin(late), np.nanmax(late)
    if floor is not None:
        low, high = min(low, floor), max(high, floor)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    layout = {"yaxis": {"title": {"text": unit}, "range": [float(low - pad), float(high + pad)]},
              "xaxis": {"title": {"text": "tokens seen"}, "tickformat": "~s"}, "showlegend": False}
    return {"id": identity, "title": title, "data": data,
            "layout": layout | (floor_line(floor) if floor is not None else {})}


def by_variant(runs, rows_of):
    grouped = {}
    for run in runs:
        grouped.setdefault(run.variant, []).append(rows_of(run))
    return {name: np.stack(rows) for name, rows in grouped.items()}


def evaluation_figure(runs, styles, held_out):
    x = np.array([tokens for tokens, _ in runs[0].evaluations], dtype=float)
    if len(x) < 2 or any([tokens for tokens, _ in run.evaluations] != list(x) for run in runs):
        return None
    rows = by_variant(runs, lambda run: [held_out(evaluation) for _, evaluation in run.evaluations])
    return figure("held-out", "Held-out loss", "nats per token", rows, x, styles)


def figures(runs, styles, floor, held_out):
    """The held-out loss, then what each step tells. Runs differ in nothing that changes their steps."""
    x = windows(runs[0].series["tokens"])
    found = [evaluation_figure(runs, styles, held_out)]
    same = [run for run in runs if len(run.series["tokens"]) == len(runs[0].series["tokens"])]
    for name, unit, key, title in OVER_STEPS:
        rows = by_variant(same, lambda run: windows(run.series[name]))
        if name in ("drop_rate", "dead") and not any(np.nanmax(values, initial=0) for values in rows.values()):
            continue
        found.append(figure(name.replace("_", "-"), title, unit, rows, x, styles, floor.get(key) if key else None))
    return [each for each in found if each]
