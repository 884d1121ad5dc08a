"""Pages that `explain` and `report` write: one sample is explained, none is written over, metrics stand first."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import chainrule
from chainrule.cli import cli
from chainrule.core.discovery import get_recipe
from chainrule.reporting.page import free_page
from chainrule.reporting.report import _summary

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    settings = {"data": "iris", "hidden": 4, "device": "cpu"}
    return [chainrule.train("mlp-table", epochs=n, out=folder / f"run-{n}", **settings).folder for n in (1, 2)]


def shown(page: Path) -> str:
    """What the page shows of the input: its answer, its activations; not the name of the input."""
    text = page.read_text("utf-8")
    return re.sub(r"<dt>input</dt><dd>[^<]*</dd>", "", text[text.index("<dt>input</dt>") :])


def test_the_first_of_several_rows_is_explained_and_that_is_said(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["5.1,3.5,1.4,0.2", "6.7,3.0,5.2,2.3", "5.9,3.0,4.2,1.5"]
    header = ",".join(f'"{name}"' for name in chainrule.Run.load(runs[0]).record["data"]["spec"]["columns"])
    (tmp_path / "many.csv").write_text("\n".join([header, *rows]))
    one = chainrule.explain(runs[0], rows[0], out=tmp_path / "one.html")
    assert "first of them" not in capsys.readouterr().err
    many = chainrule.explain(runs[0], tmp_path / "many.csv", out=tmp_path / "many.html")
    assert "There are 3 samples in what was named: this is the first of them" in capsys.readouterr().err
    assert "this is the first of them" in many.read_text("utf-8")
    assert shown(many) == shown(one)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{rows[0]}\n".encode())))
    assert shown(chainrule.explain(runs[0], "-", out=tmp_path / "stdin.html")) == shown(one), "stdin is read twice"


def test_no_page_is_written_over_unless_it_is_named(runs: list[Path], tmp_path: Path) -> None:
    assert [chainrule.explain(runs[1]).name for _ in range(2)] == ["explain.html", "explain-2.html"]
    assert [chainrule.explain("x*x", ["x=2"]).name for _ in range(2)] == ["graph.html", "graph-2.html"]
    page = tmp_path / "page.html"
    assert free_page(None, page) == page == free_page(tmp_path, Path("page.html"))
    page.touch()
    assert free_page(None, page).name == "page-2.html" == free_page(tmp_path, Path("of/page.html")).name
    assert free_page(page, Path("explain.html")) == page, "named, it is written anew"


def test_metrics_stand_first_in_a_comparison(runs: list[Path]) -> None:
    Path("comparison.html").touch()
    page = chainrule.report(*runs)
    text = page.read_text("utf-8")
    head = re.findall(r"<th[^>]*>([^<]*)</th>", text[text.index("Side by side") :].partition("</thead>")[0])
    assert page.name == "comparison-2.html" and head[:2] == ["run", "accuracy"]
    assert head.index("loss") < head.index("measured on") < head.index("status") < head.index("seed")
    assert head[-1] == "epochs"


def test_sizes_are_the_runs_or_said_to_be_an_example() -> None:
    assert "An example, the network mlp for an input of 1 x 28 x 28; a run has" in " ".join(
        CliRunner().invoke(cli, ["show", "mlp-table"]).output.split()
    )
    run = SimpleNamespace(recipe=get_recipe("char-lstm"), record={"settings": {}}, result=lambda: {"parameters": 1234})
    assert "873,793 parameters" in _summary(run)  # type: ignore[arg-type]
    assert _summary(run).endswith("default settings and data; this network has 1,234 parameters.")  # type: ignore[arg-type]
    run.result = lambda: {"parameters": 873_793}
    assert _summary(run) == run.recipe.summary  # type: ignore[arg-type]
