"""Small pieces of the page as HTML."""

import html
import re


def escape(text):
    return html.escape(str(text), quote=True)


def section(identity, title, *parts, note=""):
    lead = f'<p class="note">{escape(note)}</p>\n' if note else ""
    return f'<section id="{identity}">\n<h2>{escape(title)}</h2>\n{lead}' + "\n".join(parts) + "\n</section>\n"


STROKES = {"solid": "", "dash": "7 4", "dashdot": "7 3 2 3", "longdash": "11 4"}


def swatch(style):
    """A piece of the variant's line, as the plots draw it."""
    if not style:
        return ""
    return (f'<svg class="swatch" viewBox="0 0 26 8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" '
            f'stroke="var(--{style["color"].lstrip("@")})" stroke-dasharray="{STROKES[style["dash"]]}"/></svg>')


def table(identity, label, header, rows, classes=None, styles=None):
    """In a box of its own, which scrolls. classes: {(row, column): class}, styles: {first cell: style}."""
    classes, styles = classes or {}, styles or {}
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    body = ""
    for number, (first, *rest) in enumerate(rows):
        kind = f' class="{classes[number, 0]}"' if (number, 0) in classes else ""
        cells = "".join(f"<td{_class(classes, number, column)}>{two_lines(text)}</td>"
                        for column, text in enumerate(rest, 1))
        body += f'<tr{kind}><th scope="row">{swatch(styles.get(first))}{escape(first)}</th>{cells}</tr>\n'
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table id="{identity}">\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>")


def two_lines(text):
    """'1.20 ± 0.30', '+0.1 [−0.1, +0.3]' or '+0.1 (one pair)': what follows the number is small and below it."""
    number, rest = re.fullmatch(r"(?s)(.*?)( [±\[(].*)?", text).groups()
    return escape(number) + (f" <small>{escape(rest[1:])}</small>" if rest else "")


def _class(classes, row, column):
    return f' class="{classes[row, column]}"' if (row, column) in classes else ""


def figure(identity, title, note=""):
    small = f" <small>{escape(note)}</small>" if note else ""
    return (f'<figure><figcaption>{escape(title)}{small}</figcaption>'
            f'<div class="plot" id="plot-{escape(identity)}" role="img" aria-label="{escape(title)}"></div></figure>')


def pair(parts):
    return '<div class="pair">\n' + "\n".join(parts) + "\n</div>"


def card(title, sentences):
    items = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences)
    return f'<div class="card"><h3>{escape(title)}</h3><ul>\n{items}</ul></div>'


def chips(styles):
    buttons = "".join(f'<button type="button" class="chip" aria-pressed="true" data-variant="{escape(name)}">'
                      f"{swatch(style)}{escape(name)}</button>\n" for name, style in styles.items())
    return f'<div class="chips" role="group" aria-label="variants shown">\n{buttons}</div>'


def details(title, content):
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def definitions(pairs):
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs) + "</dl>"


def select(name, label):
    return f'<label>{label} <select id="choose-{name}" autocomplete="off"></select></label>'


def slider(name, label):
    return (f'<label class="wide">{label} <input type="range" id="choose-{name}" min="0" max="0" value="0" '
            f'autocomplete="off"><output>–</output></label>')
