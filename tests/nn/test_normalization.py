"""Normalisations and dropout against torch, loops, Caffe's arithmetic by hand, and what is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chainrule.core.errors import UserError
from chainrule.functional import normalization as N
from chainrule.nn.dropout import Dropout, monte_carlo
from chainrule.nn.normalization.batch_norm import BatchNorm, CaffeBatchNorm, Scale
from chainrule.nn.normalization.group_norm import GroupNorm
from chainrule.nn.normalization.instance_norm import InstanceNorm
from chainrule.nn.normalization.layer_norm import LayerNorm
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm, LocalResponseNormWithin


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# --- local response normalisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3), (2, 7, 3, 4), (1, 1, 2, 2), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_lrn_across_channels_is_torchs(shape: tuple[int, ...], size: int) -> None:
    x = randn(*shape)
    seen = x if len(shape) > 2 else x[:, :, None]  # torch wants a position
    want = F.local_response_norm(seen, size, alpha=0.7, beta=0.6, k=1.5).view(shape)
    close(N.lrn_across_channels(x, size, alpha=0.7, beta=0.6, k=1.5), want)


def test_lrn_across_channels_is_the_papers_with_alpha_times_n() -> None:
    """Section 3.3 of 2012: k = 2, n = 5, alpha = 1e-4 not divided, beta = 0.75."""
    x = randn(2, 8, 2, 3).numpy() * 100
    want = np.empty_like(x)
    for c in range(8):
        low, high = max(0, c - 2), min(7, c + 2)
        want[:, c] = x[:, c] / (2 + 1e-4 * (x[:, low : high + 1] ** 2).sum(1)) ** 0.75
    layer = LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)
    close(layer(torch.from_numpy(x)), torch.from_numpy(want))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_lrn_within_channel_is_caffes_loop(size: int) -> None:
    """1 + alpha times the average of the squares over n x n, padding counted; then the power."""
    x = randn(2, 2, 4, 5).numpy()
    want, r = np.empty_like(x), size // 2
    for i in range(4):
        for j in range(5):
            window = x[:, :, max(0, i - r) : i + r + 1, max(0, j - r) : j + r + 1]
            want[:, :, i, j] = x[:, :, i, j] * (1 + 0.8 * (window**2).sum((2, 3)) / size**2) ** -0.75
    layer = LocalResponseNormWithin(size, alpha=0.8, beta=0.75)
    close(layer(torch.from_numpy(x)), torch.from_numpy(want))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_lrn_of_large_halves_does_not_overflow(dtype: torch.dtype) -> None:
    """300^2 is beyond float16; squared there, the energy would be inf and the answer 0."""
    x = torch.full((1, 4, 3, 3), 300.0, dtype=dtype)
    for f in (N.lrn_across_channels, N.lrn_within_channel):
        got = f(x, 3, alpha=1.0)
        assert got.dtype == dtype and got.min() > 0
        torch.testing.assert_close(got.double(), f(x.double(), 3, alpha=1.0), rtol=1e-2, atol=0)


# --- normalisation by mean and variance ---------------------------------------------------------------------------

PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], tuple[int, ...]]] = {
    "batch 1d": (lambda: BatchNorm(4), lambda: nn.BatchNorm1d(4), (5, 4)),
    "batch 1d positions": (lambda: BatchNorm(4), lambda: nn.BatchNorm1d(4), (2, 4, 3)),
    "batch 2d": (lambda: BatchNorm(4, momentum=0.3, eps=1e-3), lambda: nn.BatchNorm2d(4, 1e-3, 0.3), (3, 4, 2, 5)),
    "batch 2d of one": (lambda: BatchNorm(4), lambda: nn.BatchNorm2d(4), (1, 4, 2, 2)),
    "batch 3d plain": (lambda: BatchNorm(4, affine=False), lambda: nn.BatchNorm3d(4, affine=False), (2, 4, 2, 2, 2)),
    "layer": (lambda: LayerNorm(6), lambda: nn.LayerNorm(6), (3, 2, 6)),
    "layer of two": (lambda: LayerNorm((2, 6)), lambda: nn.LayerNorm((2, 6)), (3, 2, 6)),
    "layer plain": (
        lambda: LayerNorm(6, eps=1e-2, affine=False), lambda: nn.LayerNorm(6, 1e-2, elementwise_affine=False), (1, 6)),
    "group": (lambda: GroupNorm(3, 6), lambda: nn.GroupNorm(3, 6), (2, 6, 3, 3)),
    "group flat": (lambda: GroupNorm(2, 6), lambda: nn.GroupNorm(2, 6), (2, 6)),
    "instance": (lambda: InstanceNorm(4), lambda: nn.InstanceNorm2d(4), (2, 4, 3, 3)),
    "instance affine": (lambda: InstanceNorm(4, affine=True), lambda: nn.InstanceNorm1d(4, affine=True), (2, 4, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_norms_are_torchs(name: str) -> None:
    """Output, gradient and running averages over three steps, then eval; the state dicts are interchangeable."""
    make, make_torchs, shape = PAIRS[name]
    torchs = make_torchs().double()
    for i, parameter in enumerate(torchs.parameters()):
        parameter.data = randn(*parameter.shape, seed=10 + i)
    ours = make().double()
    ours.load_state_dict(torchs.state_dict())
    for step in range(3):
        x1 = (randn(*shape, seed=step) * 2 + 1).requires_grad_()
        x2 = x1.detach().clone().requires_grad_()
        y1, y2 = ours(x1), torchs(x2)
        close(y1, y2)
        arriving = randn(*shape, seed=20 + step)
        y1.backward(arriving)
        y2.backward(arriving)
        close(x1.grad, x2.grad)  # type: ignore[arg-type]
    for a, b in zip(ours.parameters(), torchs.parameters(), strict=True):
        close(a.grad, b.grad)  # type: ignore[arg-type]
    for key, value in torchs.state_dict().items():
        close(ours.state_dict()[key], value)
    x = randn(*shape, seed=5)
    close(ours.eval()(x), torchs.eval()(x))


@pytest.mark.parametrize("name", PAIRS)
def test_large_offsets(name: str) -> None:
    """Around 1e4 the mean of squares less the square of the mean would be noise in float32."""
    make, _, shape = PAIRS[name]
    x = randn(*shape)
    norm = make()
    got = norm((x + 1e4).float())
    torch.testing.assert_close(got.double(), make().double()((x + 1e4).float().double()), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", PAIRS)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    make, _, shape = PAIRS[name]
    x = (randn(*shape) * 300).to(dtype)
    got = make()(x)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), make().double()(x.double()), rtol=2e-2, atol=2e-2)
    assert make().eval()(x).dtype == dtype


def test_gradients() -> None:
    x, w, b = randn(3, 4, 2, 2), randn(4, seed=1), randn(4, seed=2)
    leaves = tuple(t.requires_grad_() for t in (x, w, b))
    assert torch.autograd.gradcheck(N.batch_norm, leaves)
    assert torch.autograd.gradcheck(N.instance_norm, leaves)
    assert torch.autograd.gradcheck(lambda x, w, b: N.group_norm(x, 2, w, b), leaves)
    assert torch.autograd.gradcheck(lambda x, w: N.layer_norm(x, [2, 2], w, w), (x, randn(2, 2).requires_grad_()))
    assert torch.autograd.gradcheck(lambda x: N.lrn_across_channels(x, 3, alpha=1.0), (x,))
    assert torch.autograd.gradcheck(lambda x: N.lrn_within_channel(x, 3, alpha=1.0), (x,))


def test_a_constant_becomes_zeros() -> None:
    for norm in (BatchNorm(2), CaffeBatchNorm(2), LayerNorm(3), GroupNorm(1, 2), InstanceNorm(2)):
        assert not norm(torch.full((2, 2, 3), 7.0)).detach().any()


def test_caffes_batch_norm_by_hand() -> None:
    """Two batches of four numbers: the blobs, then eval, each by Caffe's formulas."""
    f, eps = 0.9, 1e-5
    first, second = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.0, 0.0, 4.0, 4.0])
    norm = CaffeBatchNorm(1, moving_average_fraction=f).double()
    mean_sum = var_sum = factor = 0.0
    for batch in (first, second):
        got = norm(torch.from_numpy(batch).view(2, 1, 2))
        close(got.flatten(), torch.from_numpy((batch - batch.mean()) / np.sqrt(batch.var() + eps)))
        mean_sum, var_sum = f * mean_sum + batch.mean(), f * var_sum + batch.var() * 4 / 3
        factor = f * factor + 1
    assert [norm.mean_sum.item(), norm.var_sum.item(), norm.scale_factor.item()] == pytest.approx(
        [mean_sum, var_sum, factor], rel=1e-12
    )
    want = (5.0 - mean_sum / factor) / math.sqrt(var_sum / factor + eps)
    assert norm.eval()(torch.full((1, 1), 5.0, dtype=torch.float64)).item() == pytest.approx(want, rel=1e-12)


def test_caffes_batch_norm_before_any_batch_and_of_one_number() -> None:
    norm = CaffeBatchNorm(1).eval()
    assert norm(torch.tensor([[3.0]])).item() == pytest.approx(3 / math.sqrt(1e-5), rel=1e-6)
    assert norm.train()(torch.tensor([[3.0]])).item() == 0
    assert (norm.mean_sum.item(), norm.var_sum.item(), norm.scale_factor.item()) == (3.0, 0.0, 1.0)


def test_caffes_pair_of_layers_is_torchs_one_in_training() -> None:
    x = randn(4, 3, 2, 2)
    pair, one = nn.Sequential(CaffeBatchNorm(3), Scale(3)).double(), BatchNorm(3).double()
    for name, value in (("weight", randn(3, seed=1)), ("bias", randn(3, seed=2))):
        getattr(one, name).data = value
        getattr(pair[1], name).data = value.clone()
    close(pair(x), one(x))
    assert Scale(3, bias=False).bias is None
    close(Scale(3, bias=False).double()(x), x)


def test_batch_norms_do_not_look_at_the_batch_in_eval() -> None:
    for norm in (BatchNorm(2), CaffeBatchNorm(2)):
        norm(randn(8, 2).float())
        before = {key: value.clone() for key, value in norm.state_dict().items()}
        x = randn(5, 2, seed=1).float()
        norm.eval()
        torch.testing.assert_close(norm(x)[:1], norm(x[:1]))
        assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


# --- dropout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_dropout_is_torchs_number_for_number(p: float) -> None:
    x = randn(50, 20).float()
    torch.manual_seed(0)
    want = F.dropout(x, p, training=True)
    torch.manual_seed(0)
    assert torch.equal(Dropout(p)(x), want)
    assert torch.equal(Dropout(p).eval()(x), x)


def test_dropout_passes_the_gradient_of_what_it_kept() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.25)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach())
    assert abs((y == 0).float().mean().item() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 1000)


def test_monte_carlo_has_the_moments_of_a_linear_unit() -> None:
    """sum_i w_i x_i m_i / (1 - p) has mean w x and variance p / (1 - p) sum (w_i x_i)^2."""
    torch.manual_seed(0)
    model = nn.Sequential(Dropout(0.3), nn.Linear(6, 1, bias=False))
    x = randn(6).float()
    answers = monte_carlo(model, x, 20_000).squeeze(-1)
    parts = (model[1].weight[0] * x).detach()
    variance = 0.3 / 0.7 * parts.square().sum().item()
    assert abs(answers.mean().item() - parts.sum().item()) < 4 * math.sqrt(variance / 20_000)
    assert abs(answers.var().item() / variance - 1) < 0.05


def test_monte_carlo_leaves_the_rest_in_eval_and_puts_modes_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[0].eval()
    before = [module.training for module in model.modules()]
    mean = model[1].running_mean.clone()
    answers = monte_carlo(model, torch.randn(3, 4), 5)
    assert answers.shape == (5, 3, 2) and not answers.requires_grad
    assert not torch.equal(answers[0], answers[1])
    assert torch.equal(model[1].running_mean, mean)
    assert [module.training for module in model.modules()] == before
    with pytest.raises(RuntimeError):
        monte_carlo(model, torch.randn(3, 5), 1)
    assert [module.training for module in model.modules()] == before


def test_monte_carlo_finds_dropout_in_recurrent_layers() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(2, 3, num_layers=2, dropout=0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0][-1]

    torch.manual_seed(0)
    answers = monte_carlo(Last(), torch.randn(4, 2), 2)
    assert not torch.equal(answers[0], answers[1])


# --- errors -------------------------------------------------------------------------------------------------------

X = randn(2, 4, 3, 3)
ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "lrn even": (lambda: N.lrn_within_channel(X, 4), "must be odd"),
    "lrn flat": (lambda: N.lrn_within_channel(X[0], 3), r"\(B, C, H, W\)"),
    "lrn size": (lambda: N.lrn_across_channels(X, 0), "size is out of range"),
    "lrn alpha": (lambda: N.lrn_across_channels(X, alpha=-1.0), "alpha is out of range"),
    "lrn beta": (lambda: N.lrn_across_channels(X, beta=math.nan), "beta is out of range"),
    "lrn k": (lambda: N.lrn_across_channels(X, k=0.0), "k is out of range"),
    "lrn of bytes": (lambda: N.lrn_across_channels(X.byte()), "floating(.|\n)*uint8"),
    "no channels": (lambda: N.lrn_across_channels(X[0, 0, 0]), "expected channels"),
    "batch of one": (lambda: BatchNorm(4).double()(X[:1, :, 0, 0]), "more than one number a channel(.|\n)*last one"),
    "batch of none": (lambda: BatchNorm(4).double()(X[:0]), "more than one number"),
    "caffe's batch of none": (lambda: CaffeBatchNorm(4).double()(X[:0]), "empty batch"),
    "other channels": (lambda: BatchNorm(3).double()(X), r"\(B, 3, ...\)(.|\n)*\(2, 4, 3, 3\)"),
    "other channels for Caffe": (lambda: CaffeBatchNorm(3).double()(X), r"\(B, 3, ...\)"),
    "other channels to scale": (lambda: Scale(3).double()(X), r"\(B, 3, ...\)"),
    "momentum": (lambda: BatchNorm(3, momentum=1.5), "momentum is out of range"),
    "fraction": (lambda: CaffeBatchNorm(3, moving_average_fraction=-1), "moving_average_fraction"),
    "eps": (lambda: N.batch_norm(X, eps=0.0), "eps is out of range"),
    "weights": (lambda: N.batch_norm(X, weight=torch.ones(3)), r"weight must have one(.|\n)*\(4,\)(.|\n)*\(3,\)"),
    "layer": (lambda: LayerNorm(4).double()(X), r"\(..., 4\)"),
    "layer of nothing": (lambda: N.layer_norm(X, []), "does not end"),
    "groups": (lambda: GroupNorm(3, 4), "a divisor of 4"),
    "groups of a tensor": (lambda: N.group_norm(X, 3), "a divisor of 4"),
    "one position": (lambda: InstanceNorm(4).double()(X[..., :1, :1]), "more than one position"),
    "no position": (lambda: InstanceNorm(4).double()(X[..., 0, 0]), "more than one position"),
    "dropout": (lambda: Dropout(1.5), "p is out of range"),
    "dropout nan": (lambda: Dropout(math.nan), "found: +nan"),
    "no dropout": (lambda: monte_carlo(nn.Sequential(nn.Linear(2, 2), Dropout(0.0)), X, 2), "no dropout"),
    "no samples": (lambda: monte_carlo(Dropout(), X, 0), "1 or more"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_how(name: str) -> None:
    call, words = ERRORS[name]
    with pytest.raises(UserError, match=words):
        call()
