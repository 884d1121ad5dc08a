"""What a notebook shows of a run: the head of its report and its curves, as one piece of HTML that needs nothing else."""

from __future__ import annotations

import base64

from chainrule.reporting.learning_curves import curves_by_stage
from chainrule.reporting.page import render
from chainrule.reporting.report import describe_run
from chainrule.run.run import Run


def show(run: Run) -> str:
    """The HTML that Jupyter sets below a cell which ends with `run`; it opens neither data nor weights.

    Curves are images, so that neither their ids nor their styles meet those of other cells.
    """
    curves = {
        stage: [(figure.title, _address(figure.svg)) for figure in figures if figure.svg]
        for stage, figures in curves_by_stage(run).items()
    }
    described = describe_run(run, run.folder.name, alone=False)
    return render("notebook.html.j2", run=described, recipe=run.recipe.name, folder=str(run.folder), curves=curves)


def _address(svg: str) -> str:
    """An <svg> element as a `data:` address."""
    named = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) if "xmlns=" not in svg[:500] else svg
    return "data:image/svg+xml;base64," + base64.b64encode(named.encode("utf-8")).decode("ascii")
