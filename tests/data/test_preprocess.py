"""Preprocessing against scikit-learn, moments, and the covariance written out; and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import Tensor

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.preprocess import Preprocess, Preprocessed

pytestmark = pytest.mark.usefixtures("no_report")


def rows(count: int = 80, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return x @ torch.randn(width, width, generator=generator, dtype=torch.float64) * 3 + 7


def fitted(kind: str, x: Tensor, **options: object) -> Preprocess:
    found = Preprocess(kind, x.shape[1], **options)  # type: ignore[arg-type]
    found.fit(x)
    return found


@pytest.mark.parametrize(("kind", "oracle"), [("scale", MinMaxScaler()), ("standardize", StandardScaler())])
def test_against_scikit_learn(kind: str, oracle: object) -> None:
    x, other = rows(), rows(9) * 2
    made = fitted(kind, x)
    oracle.fit(x.numpy())  # type: ignore[attr-defined]
    torch.testing.assert_close(made(other), torch.as_tensor(oracle.transform(other.numpy())))  # type: ignore[attr-defined]


def test_pca_against_scikit_learn() -> None:
    """The same axes up to their signs; scikit-learn divides by N - 1."""
    x, other = rows(), rows(9)
    ours = fitted("pca", x, eps=0.0, components=2)(other)
    theirs = torch.as_tensor(PCA(2, whiten=True).fit(x.numpy()).transform(other.numpy())) * (80 / 79) ** 0.5
    torch.testing.assert_close(ours.abs(), theirs.abs())


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_whitened_rows_are_white(kind: str) -> None:
    x = rows()
    y = fitted(kind, x, eps=0.0)(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(4).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(y.T @ y / len(y), torch.eye(4).double())


def test_zca_is_the_symmetric_square_root_of_the_precision() -> None:
    x = rows()
    covariance = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x) + 1e-2 * torch.eye(4).double()
    matrix = fitted("zca", x, eps=1e-2).factor
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix @ matrix @ covariance, torch.eye(4).double())


def test_other_rows_change_nothing_that_was_fitted() -> None:
    x = rows()
    made = fitted("standardize", x)
    before = made.shift.clone()
    made(rows(5) * 100)
    assert torch.equal(made.shift, before) and not torch.allclose(made(rows(5) * 100).mean(0), torch.zeros(4).double())


@pytest.mark.parametrize("kind", ["none", "scale", "center", "standardize", "pca", "zca"])
def test_constant_columns_and_single_rows_stay_finite(kind: str) -> None:
    x = torch.cat([rows(), torch.full((80, 1), 3.0).double()], 1)
    for eps in (0.0, 1e-5):
        y = fitted(kind, x, eps=eps)(x)
        assert torch.isfinite(y).all()
        assert torch.isfinite(fitted(kind, x[:1], eps=eps)(x[:1])).all()
    if kind in ("scale", "center", "standardize"):
        assert torch.equal(y[:, 4], torch.zeros(80).double())


def test_it_is_saved_with_the_model() -> None:
    x = rows()
    net = torch.nn.Linear(4, 2).double()
    whole, other = (
        Preprocessed(fitted("zca", x), net),
        Preprocessed(Preprocess("zca", 4), torch.nn.Linear(4, 2).double()),
    )
    other.load_state_dict(whole.state_dict())
    assert torch.equal(other(x), whole(x)) and whole(x.float().double()).shape == (80, 2)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Preprocess("zca", 4, components=2), "kind=pca"),
        (lambda: Preprocess("pca", 4, components=5), "4 at most"),
        (lambda: Preprocess("white", 4), "standardize"),  # type: ignore[arg-type]
        (lambda: Preprocess("pca", 4, eps=-1.0), "0 or more"),
        (lambda: Preprocess("pca", 4).fit(rows(5, 3)), r"\(5, 3\)"),
        (lambda: Preprocess("pca", 4).fit(rows(0)), "N at least 1"),
        (lambda: Preprocess("pca", 4).fit(rows() / torch.tensor([1, 1, 1, 0])), "row 0"),
    ],
)
def test_refused(build: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build()  # type: ignore[operator]


def test_a_run_keeps_what_it_fitted(tmp_path: Path) -> None:
    """Whitened in training, whitened alike when it is opened again without its data; pca and zca answer the same."""
    answers = []
    for kind in ("pca", "zca", "standardize"):
        run = chainrule.train("softmax-regression", data="iris", preprocess=kind, c=(1.0,), out=tmp_path / kind)
        metrics = chainrule.evaluate(tmp_path / kind)
        assert run.result() is not None and metrics == run.result()["metrics"]  # type: ignore[index]
        answers.append(chainrule.predict(tmp_path / kind, ["5.1,3.5,1.4,0.2"])[0]["probability"])
    assert answers[0] == pytest.approx(answers[1], abs=1e-4) and abs(answers[0] - answers[2]) > 1e-4
