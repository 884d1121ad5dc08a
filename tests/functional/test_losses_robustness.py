"""Losses as a user meets them: gradients, extreme numbers, half precision, compiled graphs, and errors in words."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional import losses as L


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*shape: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def signs(*shape: int, seed: int = 0) -> Tensor:
    return labels(*shape, classes=2, seed=seed) * 2 - 1


def close(a: Tensor, b: Tensor | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=tolerance, atol=tolerance)


# --- gradients, extremes, types -------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...], Tensor | None]] = {
    "cross_entropy": (L.cross_entropy, (randn(3, 4, 2),), labels(3, 2, classes=4)),
    "cross_entropy soft": (L.cross_entropy, (randn(3, 4),), randn(3, 4, seed=1).softmax(1)),
    "cross_entropy_from_probs": (
        lambda x, t: L.cross_entropy_from_probs(x.softmax(1), t),
        (randn(3, 4),),
        labels(3, classes=4),
    ),
    "label_smoothing": (L.label_smoothing, (randn(3, 4),), labels(3, classes=4)),
    "sigmoid_cross_entropy": (L.sigmoid_cross_entropy, (randn(3, 4),), randn(3, 4, seed=1).sigmoid()),
    "focal": (L.focal, (randn(3, 4),), labels(3, 4, classes=2)),
    "softmax_focal": (L.softmax_focal, (randn(3, 4),), labels(3, classes=4)),
    "kl": (lambda p, q: L.kl_divergence(p.softmax(1), q.softmax(1)), (randn(3, 4), randn(3, 4, seed=1)), None),
    "kl logs": (
        lambda p, q: L.kl_divergence_from_log_probs(p.log_softmax(1), q.log_softmax(1)),
        (randn(3, 4), randn(3, 4, seed=1)),
        None,
    ),
    "hinge": (L.hinge, (randn(5, 4),), labels(5, classes=4)),
    "hinge L2": (lambda x, t: L.hinge(x, t, norm="L2"), (randn(5, 4),), labels(5, classes=4)),
    "crammer_singer": (lambda x, t: L.hinge(x, t, form="crammer_singer"), (randn(5, 4),), labels(5, classes=4)),
    "weston_watkins": (lambda x, t: L.hinge(x, t, form="weston_watkins"), (randn(5, 4),), labels(5, classes=4)),
    "binary_hinge": (L.binary_hinge, (randn(9),), signs(9)),
    "perceptron": (L.perceptron, (randn(9),), signs(9)),
    "multiclass_perceptron": (L.multiclass_perceptron, (randn(9, 3),), labels(9, classes=3)),
    "squared": (L.squared, (randn(4, 3), randn(4, 3, seed=1)), None),
    "euclidean": (L.euclidean, (randn(4, 3), randn(4, 3, seed=1)), None),
    "smooth_l1": (lambda x, t: L.smooth_l1(x, t, sigma=1.5), (randn(9), randn(9, seed=1)), None),
    "contrastive": (
        lambda a, b, y: L.contrastive(a, b, y, margin=3.0),
        (randn(6, 3), randn(6, 3, seed=1)),
        labels(6, classes=2),
    ),
    "contrastive legacy": (
        lambda a, b, y: L.contrastive(a, b, y, margin=9.0, form="legacy"),
        (randn(6, 3), randn(6, 3, seed=1)),
        labels(6, classes=2),
    ),
    "triplet": (L.triplet, (randn(6, 3), randn(6, 3, seed=1), randn(6, 3, seed=2)), None),
    "triplet euclidean": (
        lambda *x: L.triplet(*x, margin=1.0, distance="euclidean"),
        (randn(6, 3), randn(6, 3, seed=1), randn(6, 3, seed=2)),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    function, inputs, target = CASES[name]
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    fixed = () if target is None else (target,)
    assert torch.autograd.gradcheck(lambda *x: function(*x, *fixed), leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    function, inputs, target = CASES[name]
    halves = [x.to(dtype).requires_grad_() for x in inputs]
    fixed = () if target is None else (target.to(dtype) if name == "cross_entropy soft" else target,)
    loss = function(*halves, *fixed)
    wide = [x.detach().double() for x in halves]
    assert loss.dtype == torch.float32 or "from_probs" in name
    rough = 2e-2 if name in ("kl", "kl logs", "cross_entropy soft") or "from_probs" in name else 1e-5
    torch.testing.assert_close(loss.double(), function(*wide, *fixed), rtol=rough, atol=rough)
    loss.backward()
    assert all(x.grad is not None and x.grad.dtype == dtype and x.grad.isfinite().all() for x in halves)


@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith(("kl", "cross_entropy_from"))])
def test_large_numbers_stay_finite(name: str, scale: float) -> None:
    function, inputs, target = CASES[name]
    leaves = [(x * scale).float().requires_grad_() for x in inputs]
    fixed = () if target is None else (target,)
    loss = function(*leaves, *fixed)
    loss.backward()
    assert loss.isfinite() and all(x.grad is not None and x.grad.isfinite().all() for x in leaves)
    exact = function(*[x.detach().double() for x in leaves], *fixed)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-4)


def test_a_large_offset_of_logits_changes_nothing() -> None:
    logits, target = randn(5, 4), labels(5, classes=4)
    for loss in (L.cross_entropy, L.label_smoothing, L.softmax_focal):
        close(loss(logits + 1e6, target), loss(logits, target), 1e-8)


def test_a_small_exponent_gives_no_nan_where_the_answer_is_sure() -> None:
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    loss = L.softmax_focal(logits, torch.tensor([0, 0]), gamma=0.5)
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_a_right_answer_keeps_its_small_loss() -> None:
    """log(1 + e^-30) is 9.4e-14; taken as a difference of large numbers it would be 0 in float32."""
    close(L.sigmoid_cross_entropy(torch.tensor([30.0]), torch.tensor([1.0])), math.exp(-30), 1e-6)
    assert float(L.sigmoid_cross_entropy(torch.tensor([30.0]), torch.tensor([1.0]))) > 9e-14


def test_losses_compile() -> None:
    logits, target = randn(5, 4), labels(5, classes=4)
    compiled = torch.compile(lambda x, t: L.cross_entropy(x, t, ignore_index=2), fullgraph=True, backend="eager")
    close(compiled(logits, target), L.cross_entropy(logits, target, ignore_index=2))


# --- errors ---------------------------------------------------------------------------------------------------------

X, PROBS = randn(3, 4), randn(3, 4).softmax(1)
Y, S = torch.tensor([0, 1, 3]), torch.tensor([1, -1, 1])
ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "labels (B, 1)": (lambda: L.cross_entropy(X, Y[:, None]), r"target \(3,\) for logits(.|\n)*squeeze\(1\)"),
    "too few labels": (lambda: L.cross_entropy(X, Y[:2]), r"found: +target \(2,\)"),
    "label too large": (
        lambda: L.cross_entropy(X, torch.tensor([0, 4, 1])),
        r"target\[1\](.|\n)*0 to 3(.|\n)*found: +4",
    ),
    "label negative": (lambda: L.cross_entropy(X, torch.tensor([0, 1, -1])), r"target\[2\](.|\n)*found: +-1"),
    "label in an image": (
        lambda: L.cross_entropy(randn(1, 2, 2, 2), torch.tensor([[[0, 1], [5, 0]]]), ignore_index=255),
        r"target\[0, 1, 0\](.|\n)*255 \(ignore_index\)",
    ),
    "integer logits": (lambda: L.cross_entropy(Y, X), "logits must be floating(.|\n)*int64"),
    "labels as bool": (lambda: L.cross_entropy(X, Y > 1), "labels must be integers(.|\n)*bool"),
    "float labels": (lambda: L.cross_entropy(X, Y.double()), "same shape"),
    "float labels of a hinge": (lambda: L.hinge(X, Y.double()), "labels must be integers"),
    "soft and ignored": (lambda: L.cross_entropy(X, PROBS, ignore_index=0), "no label to ignore"),
    "soft not one": (
        lambda: L.cross_entropy(X, PROBS * 2),
        r"target does not sum to one(.|\n)*sample 0(.|\n)*found: +2",
    ),
    "probs not one": (lambda: L.cross_entropy_from_probs(PROBS * 0.9, Y), "probs does not sum to one"),
    "probs are logits": (lambda: L.cross_entropy_from_probs(X, Y), "no probability"),
    "probs nan": (lambda: L.cross_entropy_from_probs(PROBS * math.nan, Y), "no probability"),
    "kl q not one": (lambda: L.kl_divergence(PROBS, PROBS + 1), "q_probs does not sum"),
    "kl logs of logits": (lambda: L.kl_divergence_from_log_probs(X, X), r"exp\(p_log_probs\)"),
    "kl broadcast": (lambda: L.kl_divergence(PROBS, PROBS[:1]), "same shape"),
    "one class": (lambda: L.hinge(randn(3, 1), Y * 0, form="crammer_singer"), "no rival"),
    "no class": (lambda: L.cross_entropy(randn(3, 0), Y), "no classes"),
    "hinge form": (lambda: L.hinge(X, Y, form="cramer_singer"), "did you mean crammer_singer"),  # type: ignore[arg-type]
    "hinge norm": (lambda: L.hinge(X, Y, norm="l2"), "L1, L2"),  # type: ignore[arg-type]
    "binary of zeros": (lambda: L.binary_hinge(X[:, 0], S.clamp_min(0)), r"neither -1 nor \+1(.|\n)*2 \* target - 1"),
    "perceptron of zeros": (lambda: L.perceptron(X[:, 0], S * 0), r"target\[0\]"),
    "binary broadcast": (lambda: L.binary_hinge(X[:, :1], S), "nothing is broadcast"),
    "squared broadcast": (lambda: L.squared(X[:, 0], X[:, :1]), r"\(3,\)(.|\n)*\(3, 1\)|\(3, 1\)(.|\n)*\(3,\)"),
    "euclidean broadcast": (lambda: L.euclidean(X, X[:1]), "nothing is broadcast"),
    "euclidean of a number": (lambda: L.euclidean(X[0, 0], X[0, 0]), "no batch"),
    "squared of integers": (lambda: L.squared(Y, Y), "input must be floating"),
    "sigmoid of labels": (lambda: L.sigmoid_cross_entropy(X, Y), "same shape"),
    "sigmoid out of range": (lambda: L.sigmoid_cross_entropy(X[:, 0], Y), r"target\[2\](.|\n)*0 to 1(.|\n)*3"),
    "focal soft": (lambda: L.focal(X, PROBS), "targets 0 and 1 only"),
    "focal gamma": (lambda: L.focal(X, PROBS > 0.5, gamma=-1.0), "gamma is out of range"),
    "focal alpha": (lambda: L.focal(X, PROBS > 0.5, alpha=2.0), "0 to 1"),
    "smoothing": (lambda: L.label_smoothing(X, Y, smoothing=1.5), "smoothing is out of range"),
    "smoothing nan": (lambda: L.label_smoothing(X, Y, smoothing=math.nan), "found: +nan"),
    "beta and sigma": (lambda: L.smooth_l1(X, X, beta=1.0, sigma=1.0), "one of them"),
    "beta": (lambda: L.smooth_l1(X, X, beta=-1.0), "beta is out of range"),
    "sigma": (lambda: L.smooth_l1(X, X, sigma=0.0), "above 0"),
    "pairs": (lambda: L.contrastive(X, X, Y[:, None]), r"squeeze\(1\)"),
    "pairs not binary": (lambda: L.contrastive(X, X, Y), r"target\[2\]|0 to 1"),
    "pairs broadcast": (lambda: L.contrastive(X, X[:1], S), "nothing is broadcast"),
    "pairs of numbers": (lambda: L.contrastive(X[0], X[0], S), r"\(B, D\)"),
    "pairs margin": (lambda: L.contrastive(X, X, S, margin=-1.0), "margin is out of range"),
    "pairs form": (lambda: L.contrastive(X, X, S, form="caffe"), "hadsell, legacy"),  # type: ignore[arg-type]
    "triplet broadcast": (lambda: L.triplet(X, X, X[:1]), "negative and anchor"),
    "triplet distance": (lambda: L.triplet(X, X, X, distance="cosine"), "squared_euclidean"),  # type: ignore[arg-type]
    "zero_one shapes": (lambda: L.zero_one(Y, Y[:, None]), "same shape"),
    "zero_one floats": (lambda: L.zero_one(Y, Y.double()), "labels must be integers"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_how(name: str) -> None:
    call, words = ERRORS[name]
    with pytest.raises(UserError, match=words):
        call()
