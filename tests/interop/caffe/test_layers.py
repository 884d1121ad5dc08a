"""Every type of layer of Caffe's descriptions against the definition of its layer, written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.schema import message
from chainrule.interop.caffe.layers.layers import TYPES
from chainrule.interop.caffe.net import parse_net


def net_of(layer: str, *shapes: tuple[int, ...], phase: str = "TEST", tops: int = 1) -> CaffeGraph:
    """One layer over inputs a, b, c, ... of these shapes."""
    names = "abcde"[: len(shapes)]
    text = "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {" ".join(f"dim: {d}" for d in shape)} }} }} }}'
        for n, shape in zip(names, shapes, strict=True)
    )
    ends = " ".join([*(f'bottom: "{n}"' for n in names), *(f'top: "y{i}"' for i in range(tops))])
    torch.manual_seed(0)
    net = parse_net(text + layer.replace("ENDS", f'name: "it" {ends}'), phase)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net.double()


def answers(layer: str, *inputs: Tensor, tops: int = 1, phase: str = "TEST") -> tuple[list[Tensor], list[Tensor]]:
    """What the layer makes of the inputs, and its parameters."""
    net = net_of(layer, *[tuple(x.shape) for x in inputs], phase=phase, tops=tops)
    made = net(*inputs)
    return [made[f"y{i}"] for i in range(tops)], [*net.parameters()]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = numbers(3, 4, 6, 5)
Y = numbers(3, 4, 6, 5, seed=1)

# layer, inputs, definition of (inputs..., parameters...)
CASES: dict[str, tuple[str, tuple[Tensor, ...], Callable[..., Tensor]]] = {
    "Convolution": (
        "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        (X,),
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2),
    ),
    "Convolution uneven": (
        "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1 bias_term: false }",
        (X,),
        lambda x, w: F.conv2d(x, w, stride=(1, 2), padding=(0, 1)),
    ),
    "Convolution two numbers": (
        "convolution_param { num_output: 2 kernel_size: 1 kernel_size: 3 dilation: 1 dilation: 2 }",
        (X,),
        lambda x, w, b: F.conv2d(x, w, b, dilation=(1, 2)),
    ),
    "Deconvolution": (
        "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 2 }",
        (X,),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
    ),
    "InnerProduct": (
        "inner_product_param { num_output: 7 }",
        (X,),
        lambda x, w, b: torch.einsum("nchw,ochw->no", x, w.view(7, 4, 6, 5)) + b,
    ),
    "InnerProduct axis": (
        "inner_product_param { num_output: 7 axis: -1 bias_term: false }",
        (X,),
        lambda x, w: torch.einsum("nchw,ow->ncho", x, w),
    ),
    "InnerProduct transpose": (
        "inner_product_param { num_output: 7 transpose: true }",
        (X,),
        lambda x, w, b: x.reshape(3, 120) @ w + b,
    ),
    "Pooling MAX": (  # rounded up, and the last window that would begin in the padding is left out
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }",
        (X,),
        lambda x: windows(x, 3, 2, 1, (4, 3), "max"),
    ),
    "Pooling AVE": (
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 }",
        (X,),
        lambda x: windows(x, 3, 2, 0, (3, 2), "mean"),
    ),
    "Pooling AVE padded": (
        "pooling_param { pool: AVE kernel_size: 3 stride: 3 pad: 1 }",
        (X,),
        lambda x: windows(x, 3, 3, 1, (3, 2), "mean"),
    ),
    "Pooling floor": (
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 round_mode: FLOOR }",
        (X,),
        lambda x: windows(x, 3, 2, 0, (2, 2), "max"),
    ),
    "Pooling floor AVE": (
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 round_mode: FLOOR }",
        (X,),
        lambda x: windows(x, 3, 2, 2, (4, 4), "mean"),
    ),
    "Pooling global MAX": (
        "pooling_param { pool: MAX global_pooling: true }",
        (X,),
        lambda x: x.flatten(2).max(2)[0][..., None, None],
    ),
    "Pooling global AVE": (
        "pooling_param { pool: AVE global_pooling: true }",
        (X,),
        lambda x: x.flatten(2).sum(2)[..., None, None] / 30,
    ),
    "ReLU": ("", (X,), lambda x: torch.where(x > 0, x, 0.0)),
    "ReLU leaky": ("relu_param { negative_slope: 0.25 }", (X,), lambda x: torch.where(x > 0, x, 0.25 * x)),
    "PReLU": ("", (X,), lambda x, a: torch.where(x > 0, x, a.view(4, 1, 1) * x)),
    "PReLU shared": ("prelu_param { channel_shared: true }", (X,), lambda x, a: torch.where(x > 0, x, a * x)),
    "ELU": ("elu_param { alpha: 0.5 }", (X,), lambda x: torch.where(x > 0, x, 0.5 * (x.exp() - 1))),
    "Sigmoid": ("", (X,), lambda x: 1 / (1 + (-x).exp())),
    "TanH": ("", (X,), lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
    "AbsVal": ("", (X,), lambda x: (x**2).sqrt()),
    "Power": ("power_param { power: 2 scale: -0.5 shift: 3 }", (X,), lambda x: (3 - 0.5 * x) ** 2),
    "Exp": ("exp_param { base: 2 scale: 0.5 shift: 1 }", (X,), lambda x: 2 ** (1 + 0.5 * x)),
    "Exp natural": ("", (X,), lambda x: math.e**x),
    "Log": ("log_param { base: 10 scale: 0.5 shift: 8 }", (X,), lambda x: (8 + 0.5 * x).log10()),
    "BNLL": ("", (X,), lambda x: (1 + x.exp()).log()),
    "Threshold": ("threshold_param { threshold: 0.25 }", (X,), lambda x: torch.where(x > 0.25, 1.0, 0.0).double()),
    "Swish": ("swish_param { beta: 2 }", (X,), lambda x: x / (1 + (-2 * x).exp())),
    "Clip": ("clip_param { min: -0.5 max: 0.25 }", (X,), lambda x: x.clamp(-0.5, 0.25)),
    "LRN": (
        "lrn_param { local_size: 3 alpha: 3 beta: 0.5 k: 2 }",
        (X,),
        lambda x: torch.stack([x[:, c] / (2 + (x[:, max(c - 1, 0) : c + 2] ** 2).sum(1)) ** 0.5 for c in range(4)], 1),
    ),
    "LRN within": (
        "lrn_param { local_size: 3 alpha: 9 beta: 1 norm_region: WITHIN_CHANNEL k: 5 }",
        (X,),
        lambda x: (
            x / (1 + F.conv2d((x**2).view(12, 1, 6, 5), torch.ones(1, 1, 3, 3).double(), padding=1).view(x.shape))
        ),
    ),
    "MVN": (
        "",
        (X,),
        lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True).sqrt() + 1e-9),
    ),
    "MVN across": (
        "mvn_param { across_channels: true normalize_variance: false }",
        (X,),
        lambda x: x - x.mean((1, 2, 3), keepdim=True),
    ),
    "Dropout": ("dropout_param { dropout_ratio: 0.9 }", (X,), lambda x: x),
    "Scale": ("", (X,), lambda x, w: x * w.view(4, 1, 1)),
    "Scale with bias": (
        "scale_param { axis: 1 num_axes: 2 bias_term: true }",
        (X,),
        lambda x, w, b: x * w.view(4, 6, 1) + b.view(4, 6, 1),
    ),
    "Scale by a blob": ("scale_param { axis: 0 }", (X, numbers(3, 4)), lambda x, w: x * w.view(3, 4, 1, 1)),
    "Bias": ("bias_param { axis: 2 num_axes: -1 }", (X,), lambda x, b: x + b.view(6, 5)),
    "Bias by a blob": ("", (X, numbers(4)), lambda x, b: x + b.view(4, 1, 1)),
    "Scale of one number": ("scale_param { num_axes: 0 bias_term: true }", (X,), lambda x, w, b: x * w + b),
    "Bias of one number": ("bias_param { num_axes: 0 }", (X,), lambda x, b: x + b),
    "SPP": (  # 6 x 5 in 1 x 1, then in 2 x 2 windows of 3 x 3, the last column of which hangs over by one
        "spp_param { pyramid_height: 2 }",
        (X,),
        lambda x: torch.cat(
            [x.amax((2, 3)), windows(F.pad(x, (1, 0), value=-9.0), 3, 3, 0, (2, 2), "max").flatten(1)], 1
        ),
    ),
    "SPP of one level": ("spp_param { pyramid_height: 1 pool: AVE }", (X,), lambda x: x.mean((2, 3), keepdim=True)),
    "Filter": ("", (X, torch.tensor([1.0, 0.0, 3.0]).double().view(3, 1)), lambda x, s: x[[0, 2]]),
    "BatchReindex": ("", (X, torch.tensor([2.0, 0.0, 0.0, 1.0]).double()), lambda x, i: x[[2, 0, 0, 1]]),
    "Embed": (
        "embed_param { num_output: 3 input_dim: 6 }",
        (torch.tensor([[5.0, 0.0], [1.0, 1.0]]).double(),),
        lambda x, w, b: w[x.long()] + b,
    ),
    "Eltwise": ("", (X, Y, X), lambda x, y, z: x + y + z),
    "Eltwise coeff": ("eltwise_param { coeff: 2 coeff: -1 }", (X, Y), lambda x, y: 2 * x - y),
    "Eltwise PROD": ("eltwise_param { operation: PROD }", (X, Y), lambda x, y: x * y),
    "Eltwise MAX": ("eltwise_param { operation: MAX }", (X, Y), lambda x, y: torch.where(x > y, x, y)),
    "Concat": ("", (X, Y[:, :2]), lambda x, y: torch.from_numpy(np.concatenate([x.numpy(), y.numpy()], 1))),
    "Concat old": (
        "concat_param { concat_dim: 0 }",
        (X, Y),
        lambda x, y: torch.from_numpy(np.concatenate([x.numpy(), y.numpy()], 0)),
    ),
    "Concat from the end": (
        "concat_param { axis: -1 }",
        (X, Y),
        lambda x, y: torch.from_numpy(np.concatenate([x.numpy(), y.numpy()], 3)),
    ),
    "Flatten": ("flatten_param { axis: 1 end_axis: 2 }", (X,), lambda x: x.reshape(3, 24, 5)),
    "Reshape": ("reshape_param { shape { dim: 0 dim: -1 dim: 2 dim: 1 } }", (X,), lambda x: x.reshape(3, 60, 2, 1)),
    "Reshape some": (
        "reshape_param { shape { dim: 2 dim: 3 } axis: 2 num_axes: 1 }",
        (X,),
        lambda x: x.reshape(3, 4, 2, 3, 5),
    ),
    "Softmax": ("", (X,), lambda x: x.exp() / x.exp().sum(1, keepdim=True)),
    "Softmax last": ("softmax_param { axis: -1 }", (X,), lambda x: x.exp() / x.exp().sum(3, keepdim=True)),
    "ArgMax": ("", (X,), lambda x: torch.from_numpy(x.numpy().reshape(3, -1).argmax(1)).double().view(3, 1, 1, 1)),
    "ArgMax axis": (
        "argmax_param { axis: 1 top_k: 2 }",
        (X,),
        lambda x: torch.from_numpy(np.argsort(-x.numpy(), 1)[:, :2]).double(),
    ),
    "ArgMax values": (
        "argmax_param { axis: 1 out_max_val: true }",
        (X,),
        lambda x: torch.from_numpy(x.numpy().max(1, keepdims=True)),
    ),
    "Crop": ("crop_param { axis: 2 offset: 1 offset: 2 }", (X, Y[:, :, :2, :3]), lambda x, y: x[:, :, 1:3, 2:5]),
    "Tile": ("tile_param { axis: 2 tiles: 3 }", (X,), lambda x: torch.from_numpy(np.tile(x.numpy(), (1, 1, 3, 1)))),
    "Reduction": (
        "reduction_param { operation: SUMSQ axis: 1 coeff: 0.5 }",
        (X,),
        lambda x: torch.einsum("nchw,nchw->n", x, x) / 2,
    ),
    "Reduction all": ("reduction_param { operation: ASUM }", (X,), lambda x: (x**2).sqrt().sum()),
    "Reduction mean": ("reduction_param { operation: MEAN axis: -1 }", (X,), lambda x: x.sum(3) / 5),
}


def windows(x: Tensor, kernel: int, stride: int, pad: int, out: tuple[int, int], how: str) -> Tensor:
    """Caffe's pooling, window by window: padding counts in the mean, what lies beyond the padding does not."""
    height, width = x.shape[2:]
    result = x.new_empty(*x.shape[:2], *out)
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            part = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            area = (bottom - top) * (right - left)
            result[:, :, i, j] = part.amax((2, 3)) if how == "max" else part.sum((2, 3)) / area
    return result


@pytest.mark.parametrize("name", CASES)
def test_layer_is_its_definition(name: str) -> None:
    settings, inputs, definition = CASES[name]
    (found,), parameters = answers(f'layer {{ type: "{name.split()[0]}" ENDS {settings} }}', *inputs)
    torch.testing.assert_close(found, definition(*inputs, *[p.detach() for p in parameters]), rtol=1e-6, atol=1e-7)


def test_every_type_is_tested() -> None:
    elsewhere = {
        "Accuracy",
        "BatchNorm",
        "ContrastiveLoss",
        "EuclideanLoss",
        "HingeLoss",
        "InfogainLoss",
        "LSTM",
        "MultinomialLogisticLoss",
        "RNN",
        "SigmoidCrossEntropyLoss",
        "Silence",
        "Slice",
        "SoftmaxWithLoss",
        "Split",
    }
    assert {name.split()[0] for name in CASES} | elsewhere == TYPES.keys()


def test_slice_and_split() -> None:
    cut, _ = answers('layer { type: "Slice" ENDS slice_param { slice_point: 1 slice_point: 3 } }', X, tops=3)
    for found, expected in zip(cut, np.split(X.numpy(), [1, 3], 1), strict=True):
        assert np.array_equal(found.numpy(), expected)
    halves, _ = answers('layer { type: "Slice" ENDS slice_param { slice_dim: 2 } }', X, tops=2)
    assert torch.equal(halves[0], X[:, :, :3]) and torch.equal(halves[1], X[:, :, 3:])
    for found in answers('layer { type: "Split" ENDS }', X, tops=2)[0]:
        assert torch.equal(found, X)


def test_batch_norm_keeps_sums_as_caffe_does() -> None:
    net = net_of(
        'layer { type: "BatchNorm" ENDS batch_norm_param { moving_average_fraction: 0.5 eps: 0.1 } }', (3, 4, 6, 5)
    )
    norm = net.layer("it")
    sums, total = torch.zeros(2, 4, dtype=torch.float64), 0.0
    net.train()
    for x in (X, Y):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        expected = (x - mean.view(4, 1, 1)) / (var.view(4, 1, 1) + 0.1).sqrt()
        torch.testing.assert_close(net(x)["y0"], expected, rtol=1e-6, atol=1e-6)
        sums, total = 0.5 * sums + torch.stack([mean, x.var((0, 2, 3), correction=1)]), 0.5 * total + 1
    blobs = [*norm.buffers()]
    assert float(blobs[2]) == total
    torch.testing.assert_close(torch.stack(blobs[:2]), sums)
    mean, var = (sums / total).view(2, 4, 1, 1)
    torch.testing.assert_close(net.eval()(X)["y0"], (X - mean) / (var + 0.1).sqrt(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fixed", ["true", "false"])
def test_batch_norm_that_is_held_to_its_statistics(fixed: str) -> None:
    net = net_of(f'layer {{ type: "BatchNorm" ENDS batch_norm_param {{ use_global_stats: {fixed} }} }}', (3, 4, 6, 5))
    norm = net.layer("it")
    for buffer, value in zip(norm.buffers(), (2.0, 8.0, 2.0), strict=True):
        buffer.fill_(value)
    before = [b.clone() for b in norm.buffers()]
    of_batch = (X - X.mean((0, 2, 3), keepdim=True)) / (X.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (X - 1) / math.sqrt(4 + 1e-5) if fixed == "true" else of_batch
    for mode in (True, False):
        torch.testing.assert_close(net.train(mode)(X)["y0"], expected, rtol=1e-6, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, norm.buffers(), strict=True)) == (fixed == "true")


def test_dropout_keeps_the_expectation_in_training() -> None:
    x = torch.ones(1, 20_000, dtype=torch.float64)
    (y,), _ = answers('layer { type: "Dropout" ENDS dropout_param { dropout_ratio: 0.75 } }', x, phase="TRAIN")
    assert set(y.unique().tolist()) == {0.0, 4.0} and abs(float(y.mean()) - 1) < 0.05


def value(layer: str, *inputs: Tensor, **more: Any) -> float:
    return float(answers(f"layer {{ {layer} ENDS }}", *inputs, **more)[0][0])


SCORES, LABELS = numbers(4, 5, 3), torch.tensor([[0, 1, 4], [2, 2, 2], [4, 3, 0], [1, 0, 1]])
LOG = SCORES.log_softmax(1)
TAKEN = -torch.stack([torch.stack([LOG[n, LABELS[n, i], i] for i in range(3)]) for n in range(4)])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", TAKEN.sum() / 12),
        ("loss_param { normalization: FULL ignore_label: 2 }", TAKEN[LABELS != 2].sum() / 12),
        ("loss_param { ignore_label: 2 }", TAKEN[LABELS != 2].sum() / 9),
        ("loss_param { normalization: BATCH_SIZE }", TAKEN.sum() / 4),
        ("loss_param { normalize: false }", TAKEN.sum() / 4),
        ("loss_param { normalize: false normalization: VALID }", TAKEN.sum() / 12),
        ("loss_param { normalization: NONE }", TAKEN.sum()),
    ],
)
def test_softmax_loss(settings: str, expected: Tensor) -> None:
    found = value(f'type: "SoftmaxWithLoss" {settings}', SCORES, LABELS.double().view(4, 1, 3))
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_softmax_loss_along_the_last_axis() -> None:
    """What lies before the axis is the batch: 4 * 3 rows of 5."""
    for settings in ("", "loss_param { normalization: BATCH_SIZE }"):
        found = value(
            f'type: "SoftmaxWithLoss" softmax_param {{ axis: 2 }} {settings}', SCORES.movedim(1, 2), LABELS.double()
        )
        assert found == pytest.approx(float(TAKEN.mean()), rel=1e-6)


def test_softmax_loss_gives_probabilities_too() -> None:
    (loss, probs), _ = answers('layer { type: "SoftmaxWithLoss" ENDS }', SCORES, LABELS.double(), tops=2)
    torch.testing.assert_close(probs, LOG.exp(), rtol=1e-6, atol=1e-8)
    assert float(loss) == pytest.approx(float(TAKEN.mean()))


def test_losses_are_their_definitions() -> None:
    a, b, labels = numbers(4, 5), numbers(4, 5, seed=1), torch.tensor([0, 3, 4, 1])
    yes = (b > 0).double()
    cross = -(yes * a.sigmoid().log() + (1 - yes) * (-a).sigmoid().log())
    assert value('type: "SigmoidCrossEntropyLoss"', a, yes) == pytest.approx(float(cross.sum() / 4), rel=1e-6)
    valid = value('type: "SigmoidCrossEntropyLoss" loss_param { normalization: VALID ignore_label: 0 }', a, yes)
    assert valid == pytest.approx(float(cross[yes == 1].mean()), rel=1e-6)
    assert value('type: "EuclideanLoss"', a, b) == pytest.approx(float(((a - b) ** 2).sum() / 8), rel=1e-6)
    signs = torch.where(F.one_hot(labels, 5) == 1, 1.0, -1.0)
    hinge = (1 - signs * a).clamp_min(0)
    assert value('type: "HingeLoss"', a, labels.double()) == pytest.approx(float(hinge.sum() / 4), rel=1e-6)
    squares = value('type: "HingeLoss" hinge_loss_param { norm: L2 }', a, labels.double())
    assert squares == pytest.approx(float((hinge**2).sum() / 4), rel=1e-6)
    probs = a.softmax(1)
    multinomial = value('type: "MultinomialLogisticLoss"', probs, labels.double())
    assert multinomial == pytest.approx(float(-probs[range(4), labels].log().mean()), rel=1e-6)
    certain = torch.tensor([[1.0, 0.0]]).double()
    assert value('type: "MultinomialLogisticLoss"', certain, torch.ones(1).double()) == pytest.approx(-math.log(1e-20))


def test_contrastive_loss_in_both_forms() -> None:
    a, b = torch.tensor([[0.0, 0.0], [0.3, 0.4], [3.0, 4.0]]).double(), torch.zeros(3, 2).double()
    same = torch.tensor([1.0, 0.0, 1.0]).double()
    # distances 0, 0.5 and 5: alike 0 and 25, of two kinds (2 - 0.5)^2, or in the old form 2 - 0.25
    settings = "contrastive_loss_param { margin: 2 legacy_version: %s }"
    assert value('type: "ContrastiveLoss" ' + settings % "false", a, b, same) == pytest.approx((25 + 2.25) / 6)
    assert value('type: "ContrastiveLoss" ' + settings % "true", a, b, same) == pytest.approx((25 + 1.75) / 6)


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_accuracy(top_k: int) -> None:
    scores, labels = numbers(50, 5), torch.randint(5, (50,), generator=torch.Generator().manual_seed(0))
    found = value(f'type: "Accuracy" accuracy_param {{ top_k: {top_k} }}', scores, labels.double().view(50, 1))
    expected = top_k_accuracy_score(labels, scores, k=top_k) if top_k < 5 else 1.0
    assert found == pytest.approx(expected)


def test_accuracy_of_each_class() -> None:
    scores, labels = numbers(40, 5), torch.randint(4, (40,), generator=torch.Generator().manual_seed(0))
    (share, each), _ = answers('layer { type: "Accuracy" ENDS }', scores, labels.double(), tops=2)
    right = scores.argmax(1) == labels
    assert float(share) == pytest.approx(float(right.double().mean()))
    expected = [float(right[labels == k].double().mean()) for k in range(4)] + [0.0]  # nobody is of class 4
    assert each.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("ignored", "divisor"), [("", 4), ("ignore_label: 1 normalization: VALID", 3)])
def test_infogain_loss(ignored: str, divisor: int, tmp_path: Path) -> None:
    """By hand: -sum over k of H[label, k] log p[k]; with the identity it is the softmax loss."""
    scores, labels, gain = numbers(4, 3), torch.tensor([0, 2, 1, 2]), numbers(3, 3, seed=2).abs()
    rows = -(gain[labels] * scores.log_softmax(1)).sum(1)
    expected = float(rows[labels != 1].sum() if ignored else rows.sum()) / divisor
    settings = f'type: "InfogainLoss" loss_param {{ {ignored} }}'
    assert value(settings, scores, labels.double(), gain) == pytest.approx(expected, rel=1e-6)
    file = tmp_path / "H.binaryproto"
    blob = message("Blob")(num=1, channels=1, height=3, width=3, data=gain.flatten().tolist())
    file.write_bytes(blob.SerializeToString())
    of_file = value(f'{settings} infogain_loss_param {{ source: "{file}" }}', scores, labels.double())
    assert of_file == pytest.approx(expected, rel=1e-5)
    if not ignored:
        assert value(settings, scores, labels.double(), torch.eye(3).double()) == pytest.approx(
            float(F.cross_entropy(scores, labels))
        )


def test_a_fraction_is_ignored_by_its_whole_part() -> None:
    """Caffe casts targets to int before it compares: 0.7 is ignored where 0 is."""
    scores, target = numbers(2, 2), torch.tensor([[0.7, 1.0], [0.0, 1.0]]).double()
    found = value('type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 0 normalization: VALID }', scores, target)
    assert found == pytest.approx(float(-F.logsigmoid(scores[:, 1]).mean()))


def test_accuracy_ignores_a_label_and_counts_ties_against() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]).double()
    assert (
        value('type: "Accuracy" accuracy_param { ignore_label: 0 }', scores, torch.tensor([1.0, 0.0, 1.0]).double())
        == 0.5
    )
    assert value('type: "Accuracy"', scores, torch.tensor([1.0, 0.0, 0.0]).double()) == pytest.approx(2 / 3)
    all_ignored = torch.zeros(3).double()
    assert value('type: "Accuracy" accuracy_param { ignore_label: 0 }', scores, all_ignored) == 0.0


def test_a_label_out_of_range_is_named() -> None:
    with pytest.raises(UserError, match="out of range"):
        value('type: "Accuracy"', numbers(2, 5), torch.tensor([5.0, 0.0]).double())


FILLERS = {
    "gaussian mean: 2 std: 0.5": (2.0, 0.5),
    "uniform min: -1 max: 3": (1.0, 4 / math.sqrt(12)),
    "xavier": (0.0, math.sqrt(1 / 600)),
    "xavier variance_norm: FAN_OUT": (0.0, math.sqrt(1 / 200)),
    "xavier variance_norm: AVERAGE": (0.0, math.sqrt(1 / 400)),
    "msra": (0.0, math.sqrt(2 / 600)),
    "gaussian std: 1 sparse: 50": (0.0, 0.5),  # each of 200 outputs has 50 weights an input: a quarter of them
}


@pytest.mark.parametrize("filler", FILLERS)
def test_fillers_have_their_moments(filler: str) -> None:
    kind, _, rest = filler.partition(" ")
    torch.manual_seed(0)
    net = parse_net(f'''input: "x" input_dim: 1 input_dim: 600 input_dim: 1 input_dim: 1 layer {{ name: "it" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param {{ num_output: 200 weight_filler {{ type: "{kind}" {rest} }} bias_filler {{ type: "constant" value: 0.5 }} }} }}''')
    weight, bias = (p.detach() for p in net.parameters())
    mean, std = FILLERS[filler]
    assert float(weight.mean()) == pytest.approx(mean, abs=5 * std / math.sqrt(weight.numel()))
    assert float(weight.std()) == pytest.approx(std, rel=0.02)
    assert bias.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("filler", "largest"), [("xavier", math.sqrt(3)), ("xavier variance_norm: FAN_OUT", math.sqrt(3 / 900))]
)
def test_biases_have_caffes_fans(filler: str, largest: float) -> None:
    """Of a bias (n) Caffe divides the count by the first size for the fan-in, 1, and by the second, 1, for the fan-out."""
    kind, _, rest = filler.partition(" ")
    bias = next(
        parse_net(f'''input: "x" input_dim: [1, 900, 1, 1] layer {{ name: "it" type: "Bias" bottom: "x" top: "y"
        bias_param {{ filler {{ type: "{kind}" {rest} }} }} }}''').parameters()
    )
    assert 0.98 * largest < float(bias.detach().abs().max()) <= largest
    settings = 'bias_param { filler { type: "positive_unitball" } }'
    text = f'input: "x" input_dim: [1, 4, 1, 1] layer {{ name: "it" type: "Bias" bottom: "x" top: "y" {settings} }}'
    assert next(parse_net(text).parameters()).tolist() == [1.0] * 4


def test_weights_without_a_filler() -> None:
    for layer, expected in (("Scale", 1.0), ("PReLU", 0.25), ("Bias", 0.0)):
        net = parse_net(
            f'input: "x" input_dim: [1, 3, 2, 2] layer {{ name: "it" type: "{layer}" bottom: "x" top: "y" }}'
        )
        assert next(net.parameters()).tolist() == [expected] * 3


def test_bilinear_and_unit_ball() -> None:
    text = """input: "x" input_dim: [1, 2, 3, 3] layer { name: "it" type: "Deconvolution" bottom: "x" top: "y"
        convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "%s" } } }"""
    weight = next(parse_net(text % "bilinear").parameters())
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(weight, torch.outer(line, line).expand(2, 2, 4, 4))  # Caffe fills every pair of channels
    rows = next(parse_net(text % "positive_unitball").parameters()).flatten(1)
    assert (rows >= 0).all() and torch.allclose(rows.sum(1), torch.ones(2))


WRONG = {
    "Dropout dropout_param { dropout_ratio: 2 }": "dropout_ratio is out of range",
    "Dropout dropout_param { dropout_ratio: -0.5 }": "dropout_ratio is out of range",
    "Clip clip_param { min: 1 max: 0 }": "the bounds leave nothing",
    "Tile tile_param { tiles: -1 }": "tiles is missing or below 1",
    "SPP spp_param { pyramid_height: 4 }": "too small for so many levels",
    "SPP spp_param { pyramid_height: 4000000000 }": "too small for so many levels",
    "Power power_param { scale: nan }": "power_param.scale is NaN",
    "InnerProduct inner_product_param { num_output: 4000000000 }": "is too large",
    "InnerProduct inner_product_param { num_output: 2 weight_filler { type: 'xavier' sparse: 3 } }": "is never sparse",
    "InfogainLoss bottom: 'x'": "the loss has no matrix",
    "LSTM bottom: 'x' recurrent_param { num_output: 2 }": "no sequences",
    "Filter bottom: 'x'": "a number a sample",
    "ReLU phase: TRAIN": "another phase than its network",
    "ReLU propagate_down: [true, false]": "one propagate_down for each bottom",
    "ReLU blobs { data: 1 }": "blobs is not read here",
    "Pooling pooling_param { global_pooling: true pad: 1 }": "pooling_param.pad is not read here",
    "Convolution convolution_param { kernel_size: 3 }": "num_output is missing",
    "Convolution convolution_param { num_output: 3 }": "must be 1 or more",
    "Convolution convolution_param { num_output: 3 kernel_size: 3 group: 2 }": "cannot be divided into groups",
    "Convolution convolution_param { num_output: 3 kernel_size: 9 }": "does not fit",
    "Convolution convolution_param { num_output: 3 kernel_size: 3 kernel_h: 1 kernel_w: 1 }": "given twice",
    "Convolution convolution_param { num_output: 3 kernel_size: [3, 3, 3] }": "too many numbers",
    "Convolution convolution_param { num_output: 3 kernel_size: 3 axis: 2 }": "cannot be another",
    "Pooling pooling_param { pool: STOCHASTIC kernel_size: 2 }": "stochastic pooling is not read",
    "Pooling pooling_param { pool: AVE }": "must be 1 or more",
    "Pooling pooling_param { global_pooling: true kernel_size: 2 }": "has no kernel",
    "Pooling pooling_param { kernel_size: 2 pad: 2 }": "padding is as large",
    "Pooling pooling_param { kernel_size: 2 pad: 2 round_mode: FLOOR }": "padding is as large",
    "LRN lrn_param { local_size: 4 }": "must be odd",
    "InnerProduct inner_product_param { num_output: 2 axis: 7 }": "no such axis",
    "InnerProduct inner_product_param { num_output: 2 weight_filler { type: 'gauss' } }": "no filler 'gauss'",
    "Scale scale_param { num_axes: 9 }": "not so many axes",
    "Reshape reshape_param { shape { dim: 7 dim: -1 } }": "does not fit into the shape",
    "Reshape reshape_param { shape { dim: -1 dim: -1 } }": "does not fit into the shape",
    "Reshape reshape_param { shape { dim: 1 } axis: 9 }": "not there",
    "Slice slice_param { slice_point: 9 }": "do not cut",
    "ArgMax argmax_param { top_k: 900 }": "top_k is out of range",
    "Softmax softmax_param { axis: 4 }": "no such axis",
    "Concat concat_param { axis: 5 }": "no such axis",
    "ReLU bottom: 'x'": "another number of bottoms",
    "ReLU top: 'z'": "another number of tops",
    "Eltwise ": "another number of bottoms",
    "Eltwise bottom: 'x' eltwise_param { operation: MAX coeff: 1 coeff: 1 }": "coefficients do not fit",
    "SoftmaxWithLoss bottom: 'x'": "one label for each prediction",
    "Accuracy bottom: 'x' accuracy_param { top_k: 9 }": "top_k is out of range",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_name_the_layer_and_its_line(wrong: str) -> None:
    kind, _, settings = wrong.partition(" ")
    text = (
        f'input: "x"\ninput_dim: [2, 3, 4, 4]\nlayer {{ name: "odd" type: "{kind}" bottom: "x" top: "y" {settings} }}'
    )
    with pytest.raises(UserError) as error:
        parse_net(text, where="net.prototxt")
    assert f"layer 'odd' ({kind}) of net.prototxt, line 3" in str(error.value) and WRONG[wrong] in str(error.value)


def test_blobs_that_do_not_go_together() -> None:
    for layer in ("Eltwise", "Concat", "EuclideanLoss", "Crop"):
        with pytest.raises(UserError, match=f"layer 'it' \\({layer}\\)"):
            net_of(f'layer {{ type: "{layer}" ENDS }}', (2, 3, 4, 4), (2, 2, 5, 5))
    with pytest.raises(UserError, match=r"too small to be cropped[\s\S]*axis 2 of 5 or more"):
        net_of('layer { type: "Crop" ENDS crop_param { offset: 3 } }', (1, 1, 4, 4), (1, 1, 2, 2))
    with pytest.raises(UserError, match="does not fit the blob"):
        net_of('layer { type: "Scale" ENDS }', (2, 3, 4, 4), (2,))
