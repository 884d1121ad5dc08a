"""What is said to settings and options that are written as the other, or stand elsewhere."""

from __future__ import annotations

import pytest

from chainrule.cli import main


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train mlp --epochs 3", ["write epochs=3"]),
        ("train --weight-decay=0.1", ["write weight_decay=0.1"]),
        ("resume runs/a --epochs 40", ["write epochs=40"]),
        ("train mlp --ouput x", ["did you mean --out?"]),
        ("data check x --encodng gbk", ["chainrule data check --help"]),
        ("--json train mlp", ["chainrule train ... --json"]),
        ("train", ["Missing argument 'RECIPE'", "chainrule list"]),
        ("predict", ["Missing argument 'RUN'", "a folder that train wrote"]),
        ("train svm", ["did you mean kernel-svm or feature-svm or linear-svm?"]),
        ("train softmax_regresion", ["did you mean softmax-regression"]),
        ("show foo", ["chainrule list, or chainrule show networks"]),
        ("train mlp-table data=t.csv epochs=3", ["data is an option, not a setting", "write --data t.csv"]),
        ("train mlp-table target=kind", ["write --target kind"]),
        ("train mlp-table /", ["data are named by --data", "write --data /"]),
        ("evaluate runs/a data=t.csv", ["write --data t.csv"]),
        ("explain resnet81", ["no recipe and no network", "resnet18"]),
        ("train foo", ["there is no recipe 'foo'\n  cure:     chainrule list"]),
    ],
)
def test_it_is_told_how(line: str, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and all(part in error for part in said), error
    assert "one of adversarial-training" not in error
