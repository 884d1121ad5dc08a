"""What the user says of the reading goes through every verb: train, evaluate, predict, in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError

LINES = [f"{i % 7},{i % 10};{('Köln', 'Ulm')[i % 3 > 0]};Herr {i};{'ja' if i % 2 else 'nein'}" for i in range(40)]
HEADER = "Länge;Stadt;Name;Art"


def test_options_go_through_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes("\n".join([HEADER, *LINES]).encode("cp1252"))
    run = chainrule.train(
        "mlp-table",
        data=tmp_path / "t.csv",
        target="Art",
        epochs=1,
        hidden=(2,),
        batch_size=8,
        encoding="cp1252",
        ignore=["Name"],
        out=tmp_path / "run",
        device="cpu",
    )
    kept = json.loads((tmp_path / "run/run.json").read_text("utf-8"))["data"]
    assert kept["options"] == {"encoding": "cp1252", "ignore": ["Name"]}
    assert "1 number ('Länge' decimal comma), 1 category ('Stadt'), 1 left out ('Name')" in capsys.readouterr().err
    assert kept["notes"] and kept["spec"]["schema"][1]["kind"] == "category"

    # later files in UTF-8 or in the encoding of the training data; an unknown category alone is refused
    for encoding in ("utf-8", "cp1252"):
        (tmp_path / "new.csv").write_bytes(f"{HEADER}\n1,5;Köln;x;ja\n1,5;Bonn;x;nein\n".encode(encoding))
        with pytest.raises(
            UserError, match=r"a category is not known(.|\n)*line 3, column 'Stadt'(.|\n)*unknown=ignore"
        ):
            chainrule.evaluate(run.folder, data=tmp_path / "new.csv")
        assert "accuracy" in chainrule.evaluate(run.folder, data=tmp_path / "new.csv", unknown="ignore")
    with pytest.raises(UserError, match="own data are read as in training"):
        chainrule.evaluate(run.folder, encoding="utf-8")

    words = ["predict", str(run.folder), "1,5;Köln", "1,5;Bonn", "unknown=ignore", "--json"]
    told = CliRunner().invoke(cli, words)
    answers = json.loads(told.stdout)
    assert told.exit_code == 0 and [answer["input"] for answer in answers] == words[2:4]
    assert answers[0] == {**chainrule.predict(run.folder, "1,5;Köln")[0]}
    assert json.loads((tmp_path / "run/run.json").read_text("utf-8"))["data"] == kept, "asking changes nothing"
    shown = CliRunner().invoke(cli, ["predict", str(run.folder), "--help"]).output
    assert "--unknown" in shown and "--kinds" not in shown


def test_check_and_show_know_the_options(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("\n".join([HEADER, *LINES]).encode("cp1252"))
    words = ["data", "check", str(tmp_path / "t.csv"), "--target", "Art", "--json"]
    assert "encoding=cp1252" in str(CliRunner().invoke(cli, words).exception)
    assert "ignore=Name" in str(CliRunner().invoke(cli, [*words, "encoding=cp1252"]).exception)
    found = json.loads(CliRunner().invoke(cli, [*words, "encoding=cp1252", "ignore=Name"]).stdout)
    assert found["schema"] == {"Länge": "number, decimal comma", "Stadt": "category: Köln, Ulm", "Name": "left out"}
    told = CliRunner().invoke(cli, [*words, "encoding=cp1252", "skip_broken=yes"])
    assert "a table has no setting 'skip_broken'" in str(told.exception)
