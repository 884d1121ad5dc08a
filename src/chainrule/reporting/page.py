"""One HTML file that needs nothing else: the template, and how numbers, times and figures stand in it."""

from __future__ import annotations

import base64
import functools
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.files import atomic
from chainrule.core.language.chosen import language
from chainrule.core.language.translation import translate, translate_phrase, translation_of
from chainrule.core.task import Figure
from chainrule.reporting.spoken_templates import Said, in_words, loader, said

# What Matplotlib's colours become where the reader has chosen dark: by name of the CSS variable that stands in their place.
DARK = {
    "#ffffff": "#131c2e",  # the ground, as --card
    "#000000": "#e6ebf4",
    "#111827": "#e6ebf4",
    "#374151": "#cbd5e1",
    "#4b5563": "#97a3b6",
    "#9ca3af": "#64748b",
    "#cbd5e1": "#475569",
    "#e5e7eb": "#25324a",
    "#fee2e2": "#4a2230",
    "#2563eb": "#7aa8ff",
    "#ea580c": "#fb923c",
    "#059669": "#34d399",
    "#9333ea": "#c084fc",
    "#dc2626": "#f87171",
    "#0891b2": "#22d3ee",
    "#ca8a04": "#facc15",
    "#db2777": "#f472b6",
    "#65a30d": "#a3e635",
}
SMALLEST = 0.78  # of its size to which a chart shrinks on a narrow screen before it scrolls: 9 points become 7 pixels


def render(template: str, **context: Any) -> str:
    """A template of `templates/`, filled in."""
    return _environment(language()).get_template(template).render(dark=DARK, lang=language(), **context)


@functools.cache
def _environment(lang: str) -> Any:
    """One for all pages of a language in a process: it keeps the templates that it has read, translated as they are."""
    import jinja2

    environment = jinja2.Environment(
        loader=loader(), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=in_words
    )
    environment.undefined = jinja2.StrictUndefined
    environment.filters.update(number=shown, brief=brief, prose=prose, duration=duration, image=image, figure=figure)
    environment.filters.update(said=said)
    return environment


def write_page(template: str, out: Path, **context: Any) -> Path:
    """Renders a template of `templates/` into `out`, at once or not at all."""
    with atomic.explain_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out, render(template, **context))
    return out


def free_page(out: Path | None, default: Path) -> Path:
    """Where a page is written: the file that was named; else `default`, in the folder that was named if one was.

    Without a name for it no page is written over: behind the name comes the first number that is free, explain-2.html.
    """
    if out is not None and not out.is_dir():
        return out
    first = default if out is None else out / default.name
    number, place = 1, first
    while place.exists() or place.is_symlink():
        number += 1
        place = first.with_name(f"{first.stem}-{number}{first.suffix}")
    return place


def number(value: Any) -> str:
    """A value as a person reads it.

    >>> number([]), number({" ": 0.25, "e": 0.5})  # a space is seen
    ('none', "' ': 0.25, e: 0.5")
    >>> [number(v) for v in (431080, 0.98765432, 1e-5, True, None, (3, 4), "x", float("nan"))]
    ['431,080', '0.98765', '1e-05', 'yes', 'none', '3, 4', 'x', 'nan']
    """
    if value is None or value in ("", [], (), {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(number(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{key if str(key).strip() else repr(key)}: {number(v)}" for key, v in value.items())
    return str(value)


def shown(value: Any) -> Said:
    """The number, the list or the text for a template, its phrases in the language that is spoken."""
    return Said(number(_told(value)))


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(each) for each in value]
    return translate_phrase(value) if isinstance(value, str) else value


def brief(value: Any) -> str:
    """A value in few characters, for large type.

    >>> [brief(v) for v in (431080, 0.98765432, -0.00146634)]
    ['431,080', '0.9877', '-0.001466']
    """
    return f"{value:.4g}" if isinstance(value, float) else number(value)


def prose(text: str) -> Any:
    """Text as markup, what stands between backticks as code.

    >>> str(prose("from the last `lags` < 5"))
    'from the last <code>lags</code> &lt; 5'
    """
    from markupsafe import Markup

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(translate(text), quote=False)))


def duration(seconds: float | None) -> str:
    """Seconds in words.

    >>> [duration(s) for s in (0.5, 42, 125, 7380, None)]
    ['0.5 s', '42 s', '2 min 5 s', '2 h 3 min', 'unknown']
    """
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def image(png: bytes) -> str:
    """PNG bytes as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def figure(value: Figure) -> Any:
    """The body of a figure, as markup: its SVG (made accessible), its figure, its table."""
    from markupsafe import Markup

    parts = []
    name = html.escape(translate(value.title))
    if value.svg:
        # The page's own style sheet sets the type; Matplotlib's global rule would reach over the whole page.
        svg = re.sub(r"<style.*?</style>", "", value.svg, flags=re.DOTALL)
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = themed(re.sub(r' id="(?:matplotlib\.)?[a-z0-9]+_\d+"', "", svg))
        parts.append(f'<div class="chart">{_named(svg, name)}</div>')
    if value.png:
        parts.append(f'<img src="{image(value.png)}" alt="{name}">')
    if value.table:
        head, *rows = value.table
        if language() != "en" and all(
            not cell or translation_of(cell) for cell in head
        ):  # else some are the user's, names of classes
            head = [translate(cell) for cell in head]
        numeric = [index > 0 and _all_numbers(row[index] for row in rows) for index in range(len(head))]
        cells = _cells("th", head, numeric)
        body = "".join(f"<tr>{_cells('td', row, numeric)}</tr>" for row in rows)
        parts.append(f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>')
    return Markup("".join(parts))


def _named(svg: str, name: str) -> str:
    """The chart with a name for those who hear it, and the least width at which its letters are still read."""
    wide = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    least = ""
    if wide and " style=" not in svg.partition(">")[0]:
        least = f' style="min-width:{SMALLEST * float(wide[1]):.0f}px"'
    return svg.replace("<svg", f'<svg role="img" aria-label="{name}"{least}', 1)


def themed(svg: str) -> str:
    """An SVG of Matplotlib's whose colours follow the page: each that has another in the dark becomes a CSS variable.

    Letters in white stay white: they stand on something dark that was drawn below them.

    >>> themed('<path style="fill: #ffffff"/><text style="fill: #ffffff">x</text>')
    '<path style="fill: var(--c-ffffff, #ffffff)"/><text style="fill: #ffffff">x</text>'
    """

    def variables(element: re.Match[str]) -> str:
        kept = "#ffffff" if element[1] == "text" else ""

        def variable(colour: re.Match[str]) -> str:
            return f"var(--c-{colour[0][1:]}, {colour[0]})" if colour[0] in DARK and colour[0] != kept else colour[0]

        return re.sub(r"#[0-9a-f]{6}\b", variable, element[0])

    return re.sub(r'<(\w+)\b[^>]*\bstyle="[^"]*"', variables, svg)


def _cells(tag: str, row: Sequence[str], numeric: Sequence[bool]) -> str:
    form = {True: ' class="n"', False: ""}
    return "".join(
        f"<{tag}{form[n]}>{html.escape(translate_phrase(cell))}</{tag}>" for cell, n in zip(row, numeric, strict=True)
    )


def _all_numbers(cells: Iterable[str]) -> bool:
    """Numbers and dashes, and not dashes alone: a column that is read from its right end.

    >>> _all_numbers(["0.5", "-", "1e-05", "1,200", "12 %"]), _all_numbers(["-", ""]), _all_numbers(["1", "scale"])
    (True, False, False)
    """
    filled = [cell for cell in cells if cell not in ("", "-")]
    form = r"[-+]?[\d.,]+(e[-+]?\d+)?( %)?|nan|-?inf"
    return bool(filled) and all(re.fullmatch(form, cell) for cell in filled)
