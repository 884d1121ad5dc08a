"""Headlines: the metrics that the report shows large are metrics that runs of the recipe have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chainrule.core.discovery import all_recipes
from chainrule.core.recipe import Recipe

MANY = 10  # metrics; a report that shows so many large shows none
LEDGER = Path(__file__).parents[2] / "docs" / "results"


def measured() -> dict[str, set[str]]:
    """Of each recipe in the ledger the metrics of its runs."""
    found: dict[str, set[str]] = {}
    for file in LEDGER.glob("*.json"):
        for entry in json.loads(file.read_text("utf-8"))["runs"]:
            found.setdefault(entry["recipe"], set()).update(entry["metrics"])
    return found


MEASURED = measured()


@pytest.mark.parametrize("recipe", all_recipes().values(), ids=lambda recipe: recipe.name)
def test_headlines_are_metrics(recipe: Recipe) -> None:
    metrics = MEASURED.get(recipe.name)
    if metrics is None:
        pytest.skip("no run of it is in the ledger")
    if recipe.headline is not None:
        assert set(recipe.headline.metrics) <= metrics
    assert recipe.headline is not None or len(metrics) <= MANY, f"which of its {len(metrics)} metrics count?"
