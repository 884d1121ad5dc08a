"""A study: an experiment that puts a claim of the course to the test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.layout import Place
from chainrule.loops.experiment import Row, Rows, experiment
from chainrule.run.run import Run

SHOWN_COLUMNS = 8  # of the table of points


class Study:
    """Measures each of several points and concludes from all of them.

    Args:
        run: the run it belongs to.
        points: the settings of each point, plain values.
        measure: a point to its results: plain numbers and text, lists for curves.
        conclude: all rows (settings and results of each point) to the metrics of the run.
        draw: all rows to figures.
        claim: the sentence that is put to the test, for the report.
        how: what was measured, and on what: the protocol.
    """

    def __init__(
        self,
        run: Run,
        *,
        points: Sequence[Mapping[str, Any]],
        measure: Callable[[Mapping[str, Any]], Row],
        conclude: Callable[[list[Row]], dict[str, float]],
        draw: Callable[[list[Row]], list[Figure]],
        claim: str,
        how: str,
    ) -> None:
        place = run.record["data"]
        asked = run.data
        if "spec" not in place and (str(asked) != run.recipe.data or asked.val is not None or asked.test is not None):
            raise UserError(
                f"{run.recipe.name} makes its own data",
                found=" ".join(asked.arguments),
                cure="leave --data, --val and --test out",
            )
        place.setdefault("spec", _made_here(points))
        self.run, self.points, self._measure, self.conclude, self.draw = run, points, measure, conclude, draw
        self.claim, self.how, self.rows = claim, how, Rows()

    def modules(self) -> dict[str, nn.Module]:
        return {"rows": self.rows}

    def train(self, run: Run) -> None:
        run.require_one_process()
        experiment(run, rows=self.rows, points=self.points, measure=self._measure)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            raise UserError(
                "a study cannot be evaluated on other data",
                found=f"--data {data}",
                cure=f"chainrule train {self.run.recipe.name} --data {data}, where it takes data",
            )
        return self.conclude(self.rows.rows)

    def protocol(self) -> str:
        return f"{self.how}; every point measured once, no choice was made of what to keep"

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {}

    def figures(self) -> list[Figure]:
        return [*self.draw(self.rows.rows), self._table()]

    def _table(self) -> Figure:
        rows = self.rows.rows
        plain = [k for row in rows for k, v in row.items() if isinstance(v, (int, float, str, bool))]
        names = list(dict.fromkeys(plain))[:SHOWN_COLUMNS]
        cells = [[_cell(row.get(name)) for name in names] for row in rows]
        return Figure("What was measured", self.claim, table=[[n.replace("_", " ") for n in names], *cells])


def _made_here(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The spec of data that a study makes itself: they follow from the seed and the points."""
    text = json.dumps([dict(point) for point in points], sort_keys=True)
    return {
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
        "counts": {"points": len(points)},
        "splits": {"points": "each draws its data from the seed and its number"},
    }


def _cell(value: Any) -> str:
    if value is None:  # a point without this result
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
