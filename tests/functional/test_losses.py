"""Losses against torch, scikit-learn, SciPy, Caffe's definitions as loops, and cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from sklearn.metrics import hinge_loss, log_loss, zero_one_loss
from torch import Tensor
from torch.nn import functional as F

from chainrule.core.errors import UserError
from chainrule.functional import losses as L

NORMALIZATIONS = ("valid", "full", "batch", "none", "unreduced")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*shape: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def signs(*shape: int, seed: int = 0) -> Tensor:
    return labels(*shape, classes=2, seed=seed) * 2 - 1


def close(a: Tensor, b: Tensor | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=tolerance, atol=tolerance)


# --- normalisations -------------------------------------------------------------------------------------------------


def caffe_softmax_loss(logits: np.ndarray, target: np.ndarray, ignore: int, mode: str) -> float:
    """SoftmaxWithLoss as its layer computes it: place by place, then one of the four divisors."""
    batch, _, places = logits.shape
    loss, count = 0.0, 0
    for i in range(batch):
        for j in range(places):
            if target[i, j] == ignore:
                continue
            e = np.exp(logits[i, :, j] - logits[i, :, j].max())
            loss -= math.log(e[target[i, j]] / e.sum())
            count += 1
    divisor = {"full": batch * places, "valid": count, "batch": batch, "none": 1}[mode]
    return loss / max(1.0, divisor)


@pytest.mark.parametrize("mode", ["valid", "full", "batch", "none"])
@pytest.mark.parametrize("ignored", [0, 4, 15])
def test_normalizations_are_caffes(mode: str, ignored: int) -> None:
    logits, target = randn(3, 4, 5), labels(3, 5, classes=4)
    target.view(-1)[:ignored] = 255
    want = caffe_softmax_loss(logits.numpy(), target.numpy(), 255, mode)
    close(L.cross_entropy(logits, target, ignore_index=255, normalization=mode), want)


def test_normalizations_are_torchs() -> None:
    logits, target = randn(3, 4, 5), labels(3, 5, classes=4)
    target[0, 2] = target[2, 1] = -100
    for ours, theirs in (("valid", "mean"), ("none", "sum"), ("unreduced", "none")):
        got = L.cross_entropy(logits, target, ignore_index=-100, normalization=ours)
        close(got, F.cross_entropy(logits, target, reduction=theirs))


def test_a_batch_without_a_label_costs_nothing() -> None:
    logits = randn(2, 3).requires_grad_()
    loss = L.cross_entropy(logits, torch.tensor([9, 9]), ignore_index=9)
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()
    assert float(L.squared(torch.empty(0, 3), torch.empty(0, 3))) == 0
    assert float(L.euclidean(torch.empty(0, 3), torch.empty(0, 3))) == 0
    assert float(L.cross_entropy(torch.empty(0, 3), torch.empty(0, dtype=torch.long))) == 0


def test_reduce_losses_by_hand() -> None:
    values, keep = torch.tensor([[1.0, 2.0], [3.0, math.nan]]), torch.tensor([[True, True], [True, False]])
    got = [float(L.reduce_losses(values, keep, word)) for word in NORMALIZATIONS[:4]]
    assert got == [2.0, 1.5, 3.0, 6.0]
    assert L.reduce_losses(values, keep, "unreduced").tolist() == [[1, 2], [3, 0]]
    assert float(L.reduce_losses(torch.tensor(3.0), None, "batch")) == 3


def test_an_unknown_normalization_is_named() -> None:
    with pytest.raises(UserError, match=r"'mean'(.|\n)*valid, full, batch, none, unreduced"):
        L.squared(randn(2), randn(2), normalization="mean")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="same shape"):
        L.reduce_losses(randn(2, 1), torch.ones(2, dtype=torch.bool))


# --- classification -------------------------------------------------------------------------------------------------


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    logits, target = randn(20, 5), labels(20, classes=5)
    probs = logits.softmax(1)
    want = log_loss(target.numpy(), probs.numpy(), labels=range(5))
    close(L.cross_entropy(logits, target), want)
    close(L.cross_entropy_from_probs(probs, target), want)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4), (2, 4, 3, 3)])
def test_cross_entropy_of_every_shape(shape: tuple[int, ...]) -> None:
    logits = randn(*shape)
    dim = 0 if len(shape) == 1 else 1
    target = labels(*(shape[:dim] + shape[dim + 1 :]), classes=4)
    close(L.cross_entropy(logits, target, normalization="unreduced"), F.cross_entropy(logits, target, reduction="none"))
    soft = randn(*shape, seed=1).softmax(dim)
    want = F.cross_entropy(logits, soft, reduction="none")
    close(L.cross_entropy(logits, soft, normalization="unreduced"), want)
    got = L.cross_entropy_from_probs(logits.softmax(dim), target, normalization="unreduced")
    close(got, F.cross_entropy(logits, target, reduction="none"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_every_integer_type(dtype: torch.dtype) -> None:
    logits, target = randn(6, 4), labels(6, classes=4)
    close(L.cross_entropy(logits, target.to(dtype)), F.cross_entropy(logits, target))
    close(L.hinge(logits, target.to(dtype)), L.hinge(logits, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_is_torchs(smoothing: float) -> None:
    logits, target = randn(5, 4, 2), labels(5, 2, classes=4)
    target[1, 1] = -100
    got = L.label_smoothing(logits, target, smoothing=smoothing, ignore_index=-100)
    close(got, F.cross_entropy(logits, target, label_smoothing=smoothing))


def test_sigmoid_cross_entropy_is_torchs_and_scikit_learns() -> None:
    logits, target = randn(6, 3) * 5, torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for ours, theirs in (("valid", "mean"), ("none", "sum"), ("unreduced", "none")):
        want = F.binary_cross_entropy_with_logits(logits, target, reduction=theirs)
        close(L.sigmoid_cross_entropy(logits, target, normalization=ours), want)
    want = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / 6
    close(L.sigmoid_cross_entropy(logits, target, normalization="batch"), want)
    hard = target > 0.5
    want = log_loss(hard.numpy().ravel(), logits.sigmoid().numpy().ravel())
    close(L.sigmoid_cross_entropy(logits, hard), want)


def test_sigmoid_cross_entropy_ignores() -> None:
    logits, target = randn(4), torch.tensor([0, 1, -1, 1])
    keep = target >= 0
    close(
        L.sigmoid_cross_entropy(logits, target, ignore_index=-1),
        F.binary_cross_entropy_with_logits(logits[keep], target[keep].double()),
    )
    assert float(L.focal(logits, target, ignore_index=-1, normalization="unreduced")[2]) == 0


def test_focal_by_its_equation() -> None:
    logits, target = randn(50) * 3, labels(50, classes=2)
    p = logits.sigmoid().numpy()
    for gamma, alpha in ((0.0, None), (2.0, 0.25), (0.5, 0.75)):
        pt = np.where(target.numpy() == 1, p, 1 - p)
        at = 1 if alpha is None else np.where(target.numpy() == 1, alpha, 1 - alpha)
        want = torch.from_numpy(-at * (1 - pt) ** gamma * np.log(pt))
        close(L.focal(logits, target, alpha=alpha, gamma=gamma, normalization="unreduced"), want)
    close(L.focal(logits, target, alpha=None, gamma=0.0), L.sigmoid_cross_entropy(logits, target))


def test_softmax_focal_by_its_equation() -> None:
    logits, target = randn(20, 4), labels(20, classes=4)
    p = logits.softmax(1).gather(1, target[:, None])[:, 0]
    close(L.softmax_focal(logits, target, gamma=1.5, normalization="unreduced"), -((1 - p) ** 1.5) * p.log())
    close(L.softmax_focal(logits, target, gamma=0.0), F.cross_entropy(logits, target))


def test_kl_both_ways_is_scipys() -> None:
    p, q = randn(6, 5).softmax(1), randn(6, 5, seed=1).softmax(1)
    for a, b in ((p, q), (q, p)):
        want = rel_entr(a.numpy(), b.numpy()).sum(1)
        close(L.kl_divergence(a, b, normalization="unreduced"), torch.from_numpy(want))
        close(L.kl_divergence_from_log_probs(a.log(), b.log()), want.mean())
        close(L.kl_divergence(a, b, normalization="batch"), F.kl_div(b.log(), a, reduction="batchmean"))
    assert float(L.kl_divergence(p, p)) == 0


def test_kl_of_zeros() -> None:
    p, q = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]])
    close(L.kl_divergence(p, q), math.log(2), 1e-6)
    assert float(L.kl_divergence(q, p)) == math.inf
    close(L.kl_divergence_from_log_probs(p.log(), q.log()), math.log(2), 1e-6)
    assert float(L.kl_divergence_from_log_probs(q.log(), p.log())) == math.inf
    log_q = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    L.kl_divergence_from_log_probs(p.log(), log_q.log_softmax(1)).backward()
    assert log_q.grad is not None
    torch.testing.assert_close(log_q.grad, torch.tensor([[-0.5, 0.5, 0.0]]))


def test_impossible_truths_from_probs_cost_what_caffe_says() -> None:
    loss = L.cross_entropy_from_probs(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    close(loss, -math.log(np.finfo(np.float32).tiny), 1e-6)


# --- margins --------------------------------------------------------------------------------------------------------


def test_zero_one_is_scikit_learns() -> None:
    scores, target = randn(40, 3), labels(40, classes=3)
    want = zero_one_loss(target.numpy(), scores.argmax(1).numpy())
    close(L.zero_one(scores, target), want, 1e-6)
    close(L.zero_one(scores.argmax(1), target), want, 1e-6)
    close(L.zero_one(scores, target, normalization="none"), round(want * 40))


def test_zero_one_ignores_and_counts_nan_as_wrong() -> None:
    scores = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [1.0, 1.0], [0.0, 1.0]])
    target = torch.tensor([0, 0, 0, 7])
    assert L.zero_one(scores, target, ignore_index=7, normalization="unreduced").tolist() == [0, 1, 0, 0]
    close(L.zero_one(scores, target, ignore_index=7), 1 / 3, 1e-6)


def caffe_hinge(scores: np.ndarray, target: np.ndarray, norm: str) -> float:
    """HingeLoss as its layer computes it."""
    total = 0.0
    for row, label in zip(scores, target, strict=True):
        for k, score in enumerate(row):
            short = max(0.0, 1 + (-score if k == label else score))
            total += short if norm == "L1" else short**2
    return total / len(scores)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_hinge_one_vs_all_is_caffes(norm: str) -> None:
    scores, target = randn(7, 4), labels(7, classes=4)
    want = caffe_hinge(scores.numpy(), target.numpy(), norm)
    close(L.hinge(scores, target, norm=norm), want)
    close(L.hinge(scores, target, norm=norm, normalization="batch"), want)


def test_hinge_of_rivals() -> None:
    scores, target = randn(9, 4), labels(9, classes=4)
    want = hinge_loss(target.numpy(), scores.numpy(), labels=range(4))
    close(L.hinge(scores, target, form="crammer_singer"), want)
    close(L.hinge(scores, target, form="weston_watkins"), 4 * F.multi_margin_loss(scores, target))
    want = 4 * F.multi_margin_loss(scores, target, p=2)
    close(L.hinge(scores, target, form="weston_watkins", norm="L2"), want)
    places = L.hinge(scores.view(3, 3, 4).mT, target.view(3, 3), form="crammer_singer", normalization="unreduced")
    close(places.flatten(), L.hinge(scores, target, form="crammer_singer", normalization="unreduced"))


def test_binary_hinge_is_scikit_learns() -> None:
    scores, target = randn(30), signs(30)
    close(L.binary_hinge(scores, target), hinge_loss(target.numpy(), scores.numpy()))
    want = F.relu(1 - target * scores).square().mean()
    close(L.binary_hinge(scores, target, norm="L2"), want)


def test_perceptron_is_rosenblatts_rule() -> None:
    """Descent with rate 1, a sample at a time, walks through the weights of the rule itself."""
    x, y = randn(40, 3), signs(40)
    by_hand, w = np.zeros(3), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for i in range(40):
        if int(y[i]) * float(by_hand @ x[i].numpy()) <= 0:
            by_hand = by_hand + int(y[i]) * x[i].numpy()
        (gradient,) = torch.autograd.grad(L.perceptron((x[i] @ w)[None], y[i, None]), w)
        w = (w - gradient).detach().requires_grad_()
        np.testing.assert_allclose(w.detach().numpy(), by_hand, atol=1e-12)
    assert by_hand.any()


def test_multiclass_perceptron_of_two_classes_is_the_binary_one() -> None:
    scores, y = randn(20), signs(20)
    both = torch.stack([torch.zeros_like(scores), scores], 1)
    close(L.multiclass_perceptron(both, (y + 1) // 2), L.perceptron(scores, y))


# --- numbers --------------------------------------------------------------------------------------------------------


def test_squared_and_euclidean() -> None:
    y, t = randn(4, 3, 2), randn(4, 3, 2, seed=1)
    close(L.squared(y, t), F.mse_loss(y, t))
    want = sum(((y[n] - t[n]) ** 2).sum() for n in range(4)) / (2 * 4)
    close(L.euclidean(y, t), want)
    close(L.euclidean(y, t, normalization="none"), want * 4)
    close(L.euclidean(y[:, 0, 0], t[:, 0, 0]), ((y - t)[:, 0, 0] ** 2).mean() / 2)


@pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0, 2.5])
def test_smooth_l1_beta_is_torchs(beta: float) -> None:
    y, t = randn(100), randn(100, seed=1)
    close(L.smooth_l1(y, t, beta=beta), F.smooth_l1_loss(y, t, beta=beta))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_smooth_l1_sigma_is_fast_rcnns(sigma: float) -> None:
    y, t = randn(100), randn(100, seed=1)
    d = (y - t).abs().numpy()
    want = np.where(d < 1 / sigma**2, 0.5 * (sigma * d) ** 2, d - 0.5 / sigma**2)
    close(L.smooth_l1(y, t, sigma=sigma, normalization="unreduced"), torch.from_numpy(want))
    close(L.smooth_l1(y, t), F.smooth_l1_loss(y, t))


# --- embeddings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["hadsell", "legacy"])
def test_contrastive_is_caffes(form: str) -> None:
    x1, x2, same = randn(12, 3), randn(12, 3, seed=1), labels(12, classes=2)
    total = 0.0
    for a, b, y in zip(x1.numpy(), x2.numpy(), same.numpy(), strict=True):
        square = float(((a - b) ** 2).sum())
        far = max(2.5 - square, 0) if form == "legacy" else max(2.5 - math.sqrt(square), 0) ** 2
        total += square if y else far
    close(L.contrastive(x1, x2, same, margin=2.5, form=form), total / 12 / 2)
    close(L.contrastive(x1, x2, same.bool(), margin=2.5, form=form), total / 12 / 2)


def test_triplet_is_torchs() -> None:
    a, p, n = randn(8, 3), randn(8, 3, seed=1), randn(8, 3, seed=2)
    square: Callable[[Tensor, Tensor], Tensor] = lambda x, y: (x - y).square().sum(1)  # noqa: E731
    want = F.triplet_margin_with_distance_loss(a, p, n, distance_function=square, margin=0.2)
    close(L.triplet(a, p, n), want)
    want = F.triplet_margin_loss(a, p, n, margin=1.0, eps=0.0)
    close(L.triplet(a, p, n, margin=1.0, distance="euclidean"), want)


def test_embeddings_that_coincide_give_no_nan() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    y = torch.ones(3, 2, requires_grad=True)
    L.contrastive(x, y, torch.tensor([0, 1, 0])).backward()
    L.triplet(x, y, y.detach(), distance="euclidean").backward()
    assert x.grad is not None and y.grad is not None
    assert not x.grad.any() and not y.grad.any()
