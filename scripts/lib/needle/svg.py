"""Pieces of a picture that needs nothing beside it. Colours are classes, which dark surroundings set anew."""

from xml.sax.saxutils import escape, quoteattr

# As in scripts/lib/report/page.css: --paper, --panel, --ink, --muted, --grid, --accent, --c0 and --c1.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
.title { font-size: 15px; font-weight: 600; }
.number { font-variant-numeric: tabular-nums; }
.paper { fill: #ffffff; } .panel { fill: #f6f7f9; } .ink { fill: #1b1f24; } .muted { fill: #5b6570; }
.full { fill: #0b5c8f; } .stop { stop-color: #0b5c8f; }
.on-low, .on-middle { fill: #1b1f24; } .on-high { fill: #ffffff; }
.grid { stroke: #e6e9ed; } .rule { stroke: #5b6570; } .line { fill: none; stroke-width: 2; }
.before { stroke: #d55e00; } .after { stroke: #0072b2; } .dot { stroke-width: 1.5; }
.dot.before { fill: #ffffff; } .dot.after { fill: #0072b2; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14171c; } .panel { fill: #1c2027; } .ink { fill: #e7eaee; } .muted { fill: #a3adb8; }
  .full { fill: #7cc4f2; } .stop { stop-color: #7cc4f2; }
  .on-low { fill: #e7eaee; } .on-middle, .on-high { fill: #14171c; }
  .grid { stroke: #2a3038; } .rule { stroke: #a3adb8; }
  .before { stroke: #ff8a4c; } .after { stroke: #56b4e9; }
  .dot.before { fill: #14171c; } .dot.after { fill: #56b4e9; }
}
"""


def attributes(**named):
    """`class_` and `stroke_width` become class and stroke-width."""
    return "".join(f' {name.rstrip("_").replace("_", "-")}={quoteattr(short(value))}' for name, value in named.items())


def short(value):
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def element(kind, **named):
    return f"<{kind}{attributes(**named)}/>\n"


def text(x, y, content, class_="muted", anchor="middle", **named):
    return f"<text{attributes(x=x, y=y, class_=class_, text_anchor=anchor, **named)}>{escape(str(content))}</text>\n"


def upright(x, y, content):
    """Text read from below."""
    return text(x, y, content, transform=f"rotate(-90 {short(x)} {short(y)})")


def document(width, height, title, description, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg"{attributes(width=width, height=height)} '
            f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title description">\n'
            f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
            f"<style>{STYLE}</style>\n{element('rect', width=width, height=height, class_='paper')}{''.join(parts)}</svg>\n")
