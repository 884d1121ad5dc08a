"""Options that several commands share."""

from __future__ import annotations

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
CODE = click.option(
    "--code", multiple=True, metavar="FILE.py", help="Your own code that RUN names and that may run here."
)
OUT = click.option("--out", type=click.Path(), help="Where to write.")
