"""Pages that `explain` and `report` write: one sample is explained, none is written over, metrics stand first."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import chainrule

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
    names = [chainrule.explain(runs[1]).name for _ in range(3)]
    assert names == ["explain.html", "explain-2.html", "explain-3.html"]
    assert [chainrule.report(*runs).name for _ in range(2)] == ["comparison.html", "comparison-2.html"]
    assert [chainrule.report(*runs, out=tmp_path).name for _ in range(2)] == ["comparison-3.html", "comparison-4.html"]
    assert [chainrule.report(*runs, out="c.html").name for _ in range(2)] == ["c.html", "c.html"]
    assert [chainrule.explain("x*x", ["x=2"]).name for _ in range(2)] == ["graph.html", "graph-2.html"]


def test_metrics_stand_first_in_a_comparison(runs: list[Path]) -> None:
    text = chainrule.report(*runs, out="first.html").read_text("utf-8")
    head = re.findall(r"<th[^>]*>([^<]*)</th>", text[text.index("Side by side") :].partition("</thead>")[0])
    assert head[0] == "run" and head[1] == "accuracy" and head.index("measured on") < head.index("status")
    assert head.index("seed") > head.index("loss") and head[-1] == "epochs"
