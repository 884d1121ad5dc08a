"""Text in figures is text: a class may be called `$x$` or `50 %_`, and no user's matplotlibrc has a say in a report.

Matplotlib reads what stands between dollars as mathematics, and fails where it is none; with `text.usetex` it would hand
all text to LaTeX. Both are off for every artist of a figure, also for those that an axis makes while it is drawn. The
powers of ten of a logarithmic axis, which Matplotlib writes as mathematics, become 10⁵.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

# Settings that are the process's, not a figure's: they stay as they are.
_OF_THE_PROCESS = (
    "backend", "date.epoch", "figure.max_open_warning", "figure.raise_window", "interactive", "keymap.", "savefig.directory",
    "timezone", "tk.", "toolbar", "webagg.",
)  # fmt: skip
_RAISED = str.maketrans(
    "0123456789-\u2212+.", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207b\u207a\u00b7"
)
_POWER = re.compile(r"\^\{([^}]*)\}")


@cache
def figure_defaults() -> dict[str, Any]:
    """Matplotlib's own settings of figures, whatever the user's matplotlibrc says, with text that is text."""
    import matplotlib as mpl

    defaults: Any = mpl.rcParamsDefault
    own = {key: value for key, value in dict.items(defaults) if not key.startswith(_OF_THE_PROCESS)}
    return {**own, "text.parse_math": False, "text.usetex": False}


def without_mathematics(label: str) -> str:
    """What Matplotlib's formatter of a logarithmic axis writes, as plain text.

    >>> without_mathematics(r"$\\mathdefault{2\\times10^{-5}}$")
    '2×10⁻⁵'
    """
    plain = re.sub(r"\$|\\mathdefault\{(.*)\}", r"\1", label)
    return _POWER.sub(lambda power: power[1].translate(_RAISED), plain.replace(r"\times", "\u00d7"))


def make_plain(canvas: Any) -> None:
    """Every text of a figure as it is, and the labels of its logarithmic axes without mathematics."""
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter

    for text in canvas.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
    for axes in canvas.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for get, put in (
                (axis.get_major_formatter, axis.set_major_formatter),
                (axis.get_minor_formatter, axis.set_minor_formatter),
            ):
                if isinstance(get(), LogFormatter):
                    put(_plain_formatter()(get()))


@cache
def _plain_formatter() -> Any:
    from matplotlib.ticker import Formatter

    class PlainFormatter(Formatter):
        """Another formatter's labels, without mathematics."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def set_axis(self, axis: Any) -> None:
            super().set_axis(axis)
            self.inner.set_axis(axis)

        def set_locs(self, locs: Any) -> None:
            super().set_locs(locs)
            self.inner.set_locs(locs)

        def __call__(self, x: float, pos: Any = None) -> str:
            return without_mathematics(self.inner(x, pos))

    return PlainFormatter
