"""The segmenters: published totals, the sizes of maps, up-sampling against torch's, FCN against a restatement in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.pooling import max_pool2d_with_switches
from chainrule.models import build
from chainrule.nn.surgery import as_convolution
from chainrule.run.weights.loading import load_file
from chainrule.systems.segmentation.networks.fcn import FCN
from chainrule.systems.segmentation.networks.unet import Mirrored, UNet, paper_size
from chainrule.systems.segmentation.networks.upsampling import BilinearUpsample, bilinear_kernel
from chainrule.systems.segmentation.tiles import OVERLAP, tiled
from tests.torchvision_oracle import torchvision


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("factor", "size"), [(2, 4), (4, 8), (3, 5), (32, 63), (8, 16)])
def test_interpolation_is_the_fixed_transposed_convolution(factor: int, size: int) -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    kernel = bilinear_kernel(size).double().expand(3, 1, size, size)
    expected = F.conv_transpose2d(x, kernel, stride=factor, groups=3)
    found = BilinearUpsample(factor, size)(x)
    close(found, expected, 1e-6)  # the kernel is of float32
    target = torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * target).sum(), x)[0] for out in (found, expected)]
    close(gradients[0], gradients[1], 1e-5)


def test_a_kernel_that_is_not_bilinear_is_refused() -> None:
    with pytest.raises(UserError, match="5"):
        BilinearUpsample(3, 6)


def test_a_transposed_convolution_inserts_zeros_and_convolves_with_the_flipped_kernel() -> None:
    x, weight = torch.randn(1, 2, 4, 3, dtype=torch.float64), torch.randn(2, 5, 4, 4, dtype=torch.float64)
    stretched = torch.zeros(1, 2, 2 * 4 - 1, 2 * 3 - 1, dtype=torch.float64)
    stretched[..., ::2, ::2] = x
    ordinary = F.conv2d(F.pad(stretched, (3, 3, 3, 3)), weight.flip(-1, -2).transpose(0, 1))
    close(ordinary, F.conv_transpose2d(x, weight, stride=2))


def test_a_dense_layer_is_a_convolution() -> None:
    dense = nn.Linear(3 * 4 * 5, 7).double()
    conv = as_convolution(dense, 3, 4, 5)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    close(conv(x).flatten(1), dense(x.flatten(1)))
    large = torch.randn(1, 3, 6, 8, dtype=torch.float64)
    close(conv(large)[0, :, 1, 2], dense(large[0, :, 1:5, 2:7].flatten()))
    with pytest.raises(UserError, match="60 features"):
        as_convolution(dense, 3, 5, 5)


def shapes_within(net: nn.Module, x: Tensor, *names: str) -> list[tuple[int, ...]]:
    seen: dict[str, tuple[int, ...]] = {}
    for name in names:
        net.get_submodule(name).register_forward_hook(
            lambda module, inputs, out, name=name: seen.update({name: tuple(out.shape[-2:])})
        )
    net(x)
    return [seen[name] for name in names]


def test_the_maps_of_fcn_have_the_published_sizes() -> None:
    with torch.device("meta"):
        net = FCN(32, width=1 / 32)
        found = shapes_within(net, torch.zeros(1, 3, 500, 500), "features.30", "classifier.0", "up")
    assert found == [(22, 22), (16, 16), (544, 544)]


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("border", ["pad100", "same"])
def test_fcn_answers_at_the_size_of_the_image(stride: int, border: str) -> None:
    with torch.device("meta"):
        net = FCN(stride, 5, width=1 / 32, border=border)  # type: ignore[arg-type]
        for size in ((1, 1), (33, 47), (180, 240)):
            assert net(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def numpy_fcn(w: dict[str, np.ndarray], x: np.ndarray, stride: int) -> np.ndarray:
    """FCN of one image (C, H, W) as its description reads: pad 100, pools rounded up, fixed filters, crops."""

    def conv(h: np.ndarray, name: str, pad: int = 0) -> np.ndarray:
        kernel = w[f"{name}.weight"]
        h = np.pad(h, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(h, kernel.shape[2:], (1, 2))  # (C, H', W', k, k)
        return np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True) + w[f"{name}.bias"][:, None, None]

    def pool(h: np.ndarray) -> np.ndarray:
        c, height, width = h.shape
        h = np.pad(h, ((0, 0), (0, height % 2), (0, width % 2)), constant_values=-np.inf)
        return h.reshape(c, -(-height // 2), 2, -(-width // 2), 2).max((2, 4))

    def up(h: np.ndarray, factor: int) -> np.ndarray:
        size = 2 * factor
        line = 1 - np.abs(np.arange(size) - (factor - 0.5)) / factor
        out = np.zeros((len(h), factor * (h.shape[1] - 1) + size, factor * (h.shape[2] - 1) + size))
        for i in range(h.shape[1]):
            for j in range(h.shape[2]):
                part = h[:, i, j, None, None] * line[:, None] * line
                out[:, factor * i : factor * i + size, factor * j : factor * j + size] += part
        return out

    def cut(h: np.ndarray, offset: int, like: np.ndarray) -> np.ndarray:
        return h[:, offset : offset + like.shape[1], offset : offset + like.shape[2]]

    h, pools, layer, pad = x, {}, 0, 100
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        for _ in range(count):
            h, layer, pad = np.maximum(conv(h, f"features.{layer}", pad), 0), layer + 2, 1
        h, layer = pool(h), layer + 1
        pools[stage] = h
    h = np.maximum(conv(h, "classifier.0"), 0)
    h = np.maximum(conv(h, "classifier.3"), 0)
    s = conv(h, "classifier.6")
    if stride <= 16:
        s = up(s, 2)
        s = s + cut(conv(pools[4], "score_pool4"), 5, s)
    if stride == 8:
        s = up(s, 2)
        s = s + cut(conv(pools[3], "score_pool3"), 9, s)
    return cut(up(s, stride), {32: 19, 16: 27, 8: 31}[stride], x)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_fcn_is_its_description(stride: int) -> None:
    net = FCN(stride, 3, width=1 / 64).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.3 if p.dim() > 1 else 0.1)
    x = torch.randn(1, 3, 30, 40, dtype=torch.float64)
    with torch.no_grad():
        found = net(x)[0].numpy()
    expected = numpy_fcn({name: p.numpy() for name, p in net.state_dict().items()}, x[0].numpy(), stride)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_the_first_gradient_of_fcn_reaches_the_scores_alone_and_the_next_all() -> None:
    net = FCN(8, 3, width=1 / 32, border="same")
    x = torch.randn(2, 3, 40, 40)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for reached in (6, None):
        optimizer.zero_grad()
        F.cross_entropy(net.eval()(x), torch.randint(3, (2, 40, 40))).backward()
        own = [name for name, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())]
        assert len(own) == (reached or len(list(net.parameters())))
        optimizer.step()


def test_all_at_once_scales_the_pools() -> None:
    net = build("fcn8s-at-once", num_classes=2, width=1 / 32, border="same")
    plain = FCN(8, 2, width=1 / 32, border="same")
    state = net.state_dict()
    state["score_pool4.weight"] = torch.randn_like(state["score_pool4.weight"])
    scaled = {k: v * {"score_pool4.weight": 0.01, "score_pool3.weight": 0.0001}.get(k, 1.0) for k, v in state.items()}
    net.load_state_dict(state)
    plain.load_state_dict(scaled)
    x = torch.randn(1, 3, 40, 40)
    close(net.eval()(x), plain.eval()(x), 1e-6)


def test_deconvnet_unpools_to_where_the_maxima_stood() -> None:
    net = build("deconvnet", num_classes=2, width=1 / 16, size=32).eval()
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    net.unpool.register_forward_hook(lambda module, inputs, out: seen.append((inputs[0], inputs[1], out)))
    with torch.no_grad():
        net(torch.randn(1, 3, 32, 32))
    for x, switches, out in seen:
        assert out.shape[-1] == 2 * x.shape[-1]
        torch.testing.assert_close(out, F.max_unpool2d(x, switches, 2), rtol=0, atol=0)
    assert len(seen) == 5


def test_the_gradient_of_a_pooling_goes_to_the_switch() -> None:
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    values, switches = max_pool2d_with_switches(x, 2)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    expected = torch.zeros(1, 2, 36, dtype=torch.float64).scatter(2, switches.flatten(2), 1.0).view_as(x)
    close(gradient, expected)


def test_the_paper_s_u_net() -> None:
    with torch.device("meta"):
        net = UNet(2, 1, form="paper")
        assert sum(p.numel() for p in net.parameters()) == 31_030_658
        assert net(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        with pytest.raises(UserError, match="form=padded"):
            net(torch.zeros(1, 1, 570, 570))
    assert [paper_size(n) - 184 >= n for n in range(1, 500)] == [True] * 499


def test_mirrored_answers_the_middle_as_the_paper_s_form_does() -> None:
    """Where the poolings meet the same pixels: 92 of the border and 4 of the image are a multiple of 16."""
    net = UNet(2, 1, 1 / 32, "paper").eval()
    image = torch.randn(1, 1, 224, 224)
    whole = net(image[..., 4:208, 4:208])  # (1, 2, 20, 20)
    close(Mirrored(net)(image)[..., 96:116, 96:116], whole, 1e-5)


def test_u_net_begins_with_the_variance_of_its_inputs() -> None:
    net = UNet(2, 3, 1 / 4)
    conv = net.down[2][0]
    assert isinstance(conv, nn.Conv2d)
    assert abs(float(conv.weight.detach().std()) / (2 / conv.weight[0].numel()) ** 0.5 - 1) < 0.05
    up = net.up[0]
    assert isinstance(up, nn.ConvTranspose2d)
    assert abs(float(up.weight.detach().std()) / (2 / up.in_channels) ** 0.5 - 1) < 0.05


def test_torchvision_s_names_and_answers() -> None:
    models = torchvision().models
    theirs = models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    net = build("fcn-resnet50").eval()
    net.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        expected = theirs(x)
        close(net(x), expected["out"], 1e-4)
        close(net.with_auxiliary(x)[1], expected["aux"], 1e-4)


def test_a_classifier_s_weights_go_in_with_dense_layers_reshaped(tmp_path: Path) -> None:
    vgg = build("vgg16", num_classes=10, width=1 / 32)
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    net = FCN(16, 3, width=1 / 32)
    notes = load_file(tmp_path / "vgg16.pth", {"model": net}, "fcn16s")
    dense = vgg.classifier[0]
    close(net.classifier[0].weight.flatten(1), dense.weight, 0)
    told = " ".join(notes)
    assert "classifier.0.weight" in told and "score_pool4" in told and "classifier.6 begins anew" in told


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unet", {}),
        ("fcn8s", {"border": "same"}),
        ("fcn32s", {"border": "pad100"}),
        ("fcn-alexnet", {}),
        ("bilinear-net", {}),
    ],
)
def test_no_answer_depends_on_pixels_beyond_the_reach(name: str, settings: dict[str, Any]) -> None:
    """So tiles that look as far beyond what they answer give the answers of the whole image, but near its border."""
    net = build(name, num_classes=2, width=1 / 64, **settings).double().eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.5)
    reach = getattr(net, "reach", OVERLAP)
    x = torch.randn(1, 3, 64, 2 * reach + 160, dtype=torch.float64)
    with torch.no_grad():
        whole, by_tiles = net(x), tiled(net, x, (64, 2 * reach + 64), reach)
    middle = slice(reach, -reach)
    torch.testing.assert_close(
        by_tiles[..., middle], whole[..., middle], rtol=1e-9, atol=1e-9 * float(whole.abs().max())
    )
