"""Classifiers of tables: metrics beside the commonest class, balanced classes, the epoch that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError

pytestmark = pytest.mark.usefixtures("no_report")
rng = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def rare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four hundred rows, one in ten of class `yes`, which overlaps with `no`."""
    y = np.arange(400) % 10 == 0
    x = rng.normal(size=(400, 2)) + 1.2 * y[:, None]
    rows = [f"{a!r},{b!r},{'yes' if label else 'no'}" for a, b, label in zip(*x.T.tolist(), y, strict=True)]
    file = tmp_path_factory.mktemp("rare") / "rare.csv"
    file.write_text("\n".join(["a,b,ill", *rows]) + "\n")
    return str(file)


def test_metrics_stand_beside_the_commonest_class(rare: str) -> None:
    run = chainrule.train("logistic-regression", data=rare, c=(1,), out="run", device="cpu")
    found, task = run.result()["metrics"], run.task
    y, scores = task.data.test.y, task.scores(task.data.test.x)
    expected = {
        "majority_accuracy": 0.9,
        "balanced_accuracy": oracle.balanced_accuracy_score(y, scores.argmax(1)),
        "f1": oracle.f1_score(y, scores.argmax(1), average="macro"),
        "auc": oracle.roc_auc_score(y, scores.softmax(1)[:, 1]),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert list(found)[:2] == ["accuracy", "majority_accuracy"]
    assert run.record["data"]["spec"]["commonest"] == "no"
    Path("all.csv").write_text(
        "\n".join(["a,b,ill", *["0.5,1,yes"] * 3, "0,0,no"])
    )  # other data, another commonest class
    assert chainrule.evaluate("run", data="all.csv", device="cpu")["majority_accuracy"] == 0.25


def test_balanced_weights_are_those_of_scikit_learn(rare: str) -> None:
    settings: dict[str, Any] = {"data": rare, "c": (1,), "tol": 1e-8, "device": "cpu"}
    task = chainrule.train("logistic-regression", **settings, balance=True, out="run").task
    train = task.data.train
    model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10).fit(train.x, train.y)
    found = dict(task.model.named_buffers())["coef_"]
    np.testing.assert_allclose(found.numpy(), model.coef_, rtol=1e-4)
    other = chainrule.train("logistic-regression", **settings, class_weight="balanced", out="other").task
    assert torch.equal(dict(other.model.named_buffers())["coef_"], found)


def test_balanced_descent_answers_the_rare_class_too(rare: str) -> None:
    """One linear layer, all rows a step: the minimum is that of scikit-learn's balanced logistic regression."""
    settings: dict[str, Any] = {
        "data": rare,
        "hidden": (),
        "weight_decay": 0,
        "patience": 0,
        "lr": 0.5,
        "device": "cpu",
    }
    recalls = {}
    for balance in (False, True):
        run = chainrule.train(
            "mlp-table", **settings, balance=balance, epochs=25, batch_size=272, optimizer="adam", out=f"r{balance}",
            choose_by="balanced_accuracy",
        )  # fmt: skip
        recalls[balance] = run.result()["metrics"]["balanced_accuracy"]
        ending = run.result()
        lines = [line for line in run.log_lines() if "val_balanced_accuracy" in line]
        values = [line["val_balanced_accuracy"] for line in lines]
        assert (
            ending["kept_epoch"] == len(values) - values[::-1].index(max(values)) and ending["stopped_early"] is False
        )
        assert run.record["settings"]["balance"] is balance
    assert recalls[True] > recalls[False] + 0.1
    Path("own.py").write_text("def loss(logits, y):\n    return logits.sum() * 0\n")
    with pytest.raises(UserError, match="loss of your own is not weighed"):
        chainrule.train("mlp-table", data=rare, loss="own.py:loss", balance=True, out="x", device="cpu")


def test_which_epoch_was_kept_is_said(rare: str) -> None:
    done = CliRunner().invoke(
        cli,
        ["train", "mlp-table", "--data", rare, "epochs=90", "patience=2", "lr=0.3", "--out", "run", "--device", "cpu"],
    )
    assert done.exit_code == 0, done.exception
    result = json.loads(Path("run/result.json").read_text())
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    made = max(line["epoch"] for line in lines) + 1
    assert result["stopped_early"] is True and result["kept_epoch"] == made - 2 == result["chosen"]["epoch"] + 1
    kept = [line for line in done.stderr.splitlines() if line.startswith("kept epoch")]
    assert len(kept) == 1 and f"stopped early, after epoch {made} of 90" in kept[0]


def test_own_metrics_of_these_names_go_before(rare: str) -> None:
    Path("own.py").write_text("def f1(logits, y):\n    return 7.0\n")
    run = chainrule.train(
        "mlp-table", data=rare, metrics="own.py:f1", choose_by="max:f1", epochs=1, out="run", device="cpu"
    )
    assert run.result()["metrics"]["f1"] == 7.0
