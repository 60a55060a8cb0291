"""A variant's colour, dash and marker: never told apart by colour alone. The page knows the colours by name."""

COLORS = 8  # --c0 ... --c7 of page.css
DASHES = ("solid", "dash", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")


def styles(names, baseline):
    """The baseline in the colour of the text, the others in order."""
    found, index = {}, 0
    for name in names:
        if name == baseline:
            found[name] = {"color": "@ink", "dash": "solid", "width": 2.6, "symbol": "circle-open"}
            continue
        found[name] = {"color": f"@c{index % COLORS}", "dash": DASHES[index % len(DASHES)], "width": 2,
                       "symbol": SYMBOLS[index % len(SYMBOLS)]}
        index += 1
    return found
