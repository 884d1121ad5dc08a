"""The bar in a notebook: one output that is written over again and again; the notebook is saved with its last state.

It needs no extension of the notebook: HTML in an output with an id, which Jupyter has had since its beginning.
"""

from __future__ import annotations

import html
import sys
from typing import Any


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this code: IPython alone, on a terminal, does not count."""
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


class NotebookBar:
    """An output of the cell that runs. `draw` shows it first, then replaces it; `note` stands in a line below."""

    def __init__(self) -> None:
        self.note = ""
        self._output: Any = None

    def draw(self, title: str, step: int, total: int | None, text: str) -> None:
        """Shows step `step` of `total`, and `text` beside it."""
        plain = f"{title}: {step}{f'/{total}' if total else ''}  {text}\n{self.note}".rstrip()
        data = {"text/plain": plain, "text/html": bar_html(title, step, total, text, self.note)}
        if self._output is None:
            from IPython.display import display

            self._output = display(data, raw=True, display_id=True)
        else:
            self._output.update(data, raw=True)


def bar_html(title: str, step: int, total: int | None, text: str, note: str) -> str:
    """The bar as HTML, on two lines.

    >>> bar_html("a<b", 3, 4, "loss 0.5", "")
    '<div>a&lt;b <progress value="3" max="4" style="vertical-align: middle"></progress> 3/4 loss 0.5<br></div>'
    """
    bar = f'<progress value="{step}" max="{total}" style="vertical-align: middle"></progress> ' if total else ""
    return f"<div>{html.escape(title)} {bar}{step}{f'/{total}' if total else ''} {html.escape(text)}<br>{html.escape(note)}</div>"
