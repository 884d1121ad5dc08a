"""Receptive fields: published sizes, and for every layer and unit the pixels that a gradient reaches."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.pooling import caffe_max_pool2d
from chainrule.introspection.attribution.receptive_field.arithmetic import ReceptiveField
from chainrule.introspection.attribution.receptive_field.effective import effective_field, effective_size
from chainrule.introspection.attribution.receptive_field.network import Fields, receptive_fields
from chainrule.introspection.attribution.receptive_field.occluder import discrepancy_map, occluder_field
from chainrule.introspection.attribution.target import Unit, forward_with_activations
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm, LocalResponseNormWithin
from chainrule.systems.image_classification.lenet import LeNet5, LeNetCaffe
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
from tests.introspection.attribution_nets import Block, ConvNet, images_of, made, state_of

PIXELS = ReceptiveField()


def through(layers: list[tuple[int, int, int]]) -> ReceptiveField:
    field = PIXELS
    for kernel_size, stride, padding in layers:
        field = field.through(kernel_size, stride, padding)
    return field


def test_published_sizes() -> None:
    """AlexNet and VGG-16 as in Araujo et al. 2019, table 1; VGG's step of 32."""
    alexnet = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1)]
    assert through(alexnet).size == 163 and through([*alexnet, (3, 2, 0)]) == ReceptiveField(195, 32, -66)
    vgg = [layer for convs in (2, 2, 3, 3, 3) for layer in [*[(3, 1, 1)] * convs, (2, 2, 0)]]
    assert through(vgg) == ReceptiveField(212, 32, -90) and through(vgg).centre == Fraction(31, 2)
    # ResNet-50 with the stride on the first 1 x 1, in each stage.
    resnet = [(7, 2, 3), (3, 2, 1)]
    for blocks, stride in ((3, 1), (4, 2), (6, 2), (3, 2)):
        for block in range(blocks):
            resnet += [(1, stride if block == 0 else 1, 0), (3, 1, 1), (1, 1, 0)]
    assert through(resnet).size == 483 and through(resnet).jump == 32


@pytest.mark.parametrize(
    ("name", "size", "last"),
    [
        ("resnet50", 483, "layer4"),
        ("vgg16", 212, "features"),
        ("alexnet-one-tower", 195, "features"),
        ("alexnet", 195, "features"),
    ],
)
@pytest.mark.slow
def test_published_networks(name: str, size: int, last: str) -> None:
    from chainrule.models import build

    settings = {"stride_on": "1x1"} if name == "resnet50" else {}
    fields = receptive_fields(build(name, **settings), torch.zeros(1, 3, 227, 227))
    assert (fields[last][0].size, fields[last][0].jump) == (size, 32) and fields[last][0] == fields[last][1]


def test_arithmetic_against_counting() -> None:
    """Of a line of windows over windows, by enumeration of what is reached."""
    for (k, s, p, d), (k2, s2, p2, d2) in itertools.product(
        [(1, 1, 0, 1), (3, 2, 1, 1), (2, 3, 0, 2), (4, 1, 2, 1)], [(1, 2, 0, 1), (3, 1, 1, 2), (5, 2, 2, 1)]
    ):
        field = PIXELS.through(k, s, p, d).through(k2, s2, p2, d2)
        for unit in (0, 1, 5):
            middle = [unit * s2 - p2 + t * d2 for t in range(k2)]
            pixels = [m * s - p + t * d for m in middle for t in range(k)]
            assert field.of(unit) == (min(pixels), max(pixels)), (k, s, p, d, unit)


def test_transposed_by_counting() -> None:
    for k, s, p, d in [(2, 2, 0, 1), (4, 2, 1, 1), (3, 2, 1, 1), (3, 1, 1, 2), (5, 3, 2, 1)]:
        field = PIXELS.through_transposed(k, s, p, d)
        for unit in range(7):
            inputs = [i for i in range(-9, 20) for t in range(k) if i * s - p + t * d == unit]
            first, last = field.of(unit)
            if inputs:
                assert first <= min(inputs) and max(inputs) <= last, (k, s, p, d, unit)
                assert min(inputs) - first < 1 and last - max(inputs) < 1, "no more than one step too large"


class Mixed(nn.Module):
    """What lies around windows: slices, pads, branches, views, sums, a broadcast, a transposed convolution."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.last = nn.Conv2d(1, 2, 3, padding=1), nn.Identity()
        self.up = nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1)
        self.lrn, self.within = LocalResponseNorm(3, alpha=1.0), LocalResponseNormWithin(3, alpha=1.0)
        self.norm = nn.GroupNorm(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(getattr(self, self.kind)(x))

    def sliced(self, x: Tensor) -> Tensor:
        return F.pad(x, (2, 0, 1, 1))[:, :, 1::2, -5:]

    def concatenated(self, x: Tensor) -> Tensor:
        return torch.cat([x, F.avg_pool2d(x, (3, 1), 1, (1, 0))], 1)

    def along_a_side(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], 2)

    def seen_whole(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True)

    def one_row_for_all(self, x: Tensor) -> Tensor:
        return x + F.avg_pool2d(x, (8, 1), 1)

    def half_whole(self, x: Tensor) -> Tensor:
        return x + x.mean(3, keepdim=True)

    def transposed(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3).contiguous()

    def viewed(self, x: Tensor) -> Tensor:
        return x.view(1, 1, 2, *x.shape[2:]).sum(1)

    def regrouped(self, x: Tensor) -> Tensor:
        return x.view(1, 4, x.shape[2] // 2, x.shape[3])

    def picked(self, x: Tensor) -> Tensor:
        return x[:, :, 3].unsqueeze(2)

    def enlarged(self, x: Tensor) -> Tensor:
        return self.up(x)

    def copied(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2)

    def smoothed(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    def across(self, x: Tensor) -> Tensor:
        return self.lrn(x) + nn.LocalResponseNorm(3)(x)

    def around(self, x: Tensor) -> Tensor:
        return self.within(x)

    def grouped(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def pooled(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(caffe_max_pool2d(x, 3, 2), 2)

    def unevenly(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 3)

    def written(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, :, 1:] = x[:, :, :-1]
        return y

    def attended(self, x: Tensor) -> Tensor:
        return x.softmax(3) @ x.softmax(1).transpose(2, 3)

    def far_apart(self, x: Tensor) -> Tensor:
        return F.conv2d(x, x.new_ones(1, 2, 2, 2), dilation=3, stride=2)


KINDS = [name for name, value in vars(Mixed).items() if callable(value) and name not in ("__init__", "forward")]
EXACT = {"concatenated", "viewed", "picked", "copied", "across", "around", "far_apart", "half_whole"}
# Not followed, or truly all.
WHOLE = {
    "attended",
    "grouped",
    "smoothed",
    "unevenly",
    "seen_whole",
    "written",
    "transposed",
    "regrouped",
    "along_a_side",
    "one_row_for_all",
}


def reached(maps: Tensor, leaf: Tensor, unit: tuple[int, int]) -> Tensor:
    """The pixels (H, W) from which a gradient arrives at a unit, of all maps together: no weight is negative."""
    value = maps[0, :, unit[0], unit[1]].sum()
    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    return gradient[0].ne(0).any(0) if gradient is not None else torch.zeros(leaf.shape[2:], dtype=torch.bool)


def check(module: nn.Module, x: Tensor, layer: str, fields: Fields, exact: bool) -> None:
    module.eval()
    leaf = x.clone().requires_grad_()
    maps = forward_with_activations(module, leaf, [layer])[1][layer]
    for unit in itertools.product(*({0, n // 2, n - 1} for n in maps.shape[2:])):
        found = reached(maps, leaf, unit)
        allowed = torch.zeros_like(found)
        (top, bottom), (left, right) = (fields[i].inside(unit[i], found.shape[i]) for i in (0, 1))
        allowed[top : bottom + 1, left : right + 1] = True
        assert not (found & ~allowed).any(), (layer, unit)
        if exact and found.any():
            rows, columns = (found.any(d).nonzero()[:, 0] for d in (1, 0))
            assert [int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])] == [top, bottom, left, right], (
                layer,
                unit,
            )


def positive(module: nn.Module) -> nn.Module:
    """Positive weights, that differ, so that nothing cancels and every path is open."""
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.rand(p.shape, generator=generator) * 0.2 + 0.05
    return module


def smooth(x: Tensor, *arguments: object, **settings: object) -> Tensor:
    """Average pooling in place of the maximum, whose gradient reaches one pixel alone."""
    kernel = arguments[0]
    return F.avg_pool2d(x, kernel, *arguments[1:])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_stay_within(kind: str) -> None:
    module = positive(Mixed(kind))
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    fields = receptive_fields(module, x)["last"]
    check(module, x, "last", fields, exact=kind in EXACT)
    if kind in WHOLE:
        assert fields[0].jump == 0 and fields[0].inside(0, 8) == (0, 7)
    else:
        assert fields[0].size < 8, "it is followed"


def test_every_layer_of_networks_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "max_pool2d", smooth)
    networks: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
        (LeNetCaffe, (1, 1, 28, 28)),
        (LeNet5, (1, 1, 32, 32)),
        (lambda: ResNetCifar(8, in_channels=1), (1, 1, 32, 32)),
        (lambda: nn.Sequential(Block(), nn.Conv2d(3, 2, (3, 1), (1, 2))), (1, 2, 11, 14)),
    ]
    for make, shape in networks:
        module = positive(make())
        x = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 0.1
        before = state_of(module)
        fields = receptive_fields(module, x)
        assert state_of(module) == before
        assert len(fields) >= 2
        # Units of C3 in LeNet-5 see some maps of S2 alone, and all maps together what the record says.
        for layer, field in fields.items():
            check(module.double(), x.double(), layer, field, exact=True)


def test_both_sides_are_their_own() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, (3, 5), stride=(1, 2), padding=(0, 2)), nn.MaxPool2d((2, 1), (2, 1)))
    vertical, horizontal = receptive_fields(net, torch.zeros(1, 1, 20, 20))["1"]
    assert vertical == ReceptiveField(4, 2, 0) and horizontal == ReceptiveField(5, 2, -2)


def test_effective_field_lies_within_and_is_smaller() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Conv2d(1 if i == 0 else 4, 4, 3, padding=1) for i in range(6)])
    x = torch.randn(8, 1, 25, 25)
    fields = receptive_fields(net, x)["5"]
    found = effective_field(net, x, "5")
    (top, bottom), (left, right) = (field.inside(12, 25) for field in fields)
    assert (top, bottom, left, right) == (6, 18, 6, 18)
    outside = found.clone()
    outside[top : bottom + 1, left : right + 1] = 0
    assert not outside.any() and float(found[6, 6]) > 0, "its corner is just reached"
    size = effective_size(found)
    assert 3 < size < 13 and size == pytest.approx(float((found > 0.0455 * found.max()).sum()) ** 0.5)
    one = effective_field(net, x, "5", channel=2)
    leaf = x.clone().requires_grad_()
    net(leaf)[:, 2, 12, 12].sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(one, leaf.grad[:, 0].abs().mean(0))


def test_effective_field_of_linear_layers_is_a_binomial() -> None:
    """Convolutions with equal weights: the field is their kernel convolved with itself (Luo et al., section 2.1)."""
    net = nn.Sequential(*[nn.Conv2d(1, 1, (1, 2), bias=False) for _ in range(4)])
    for p in net.parameters():
        p.data.fill_(1.0)
    found = effective_field(net, torch.zeros(1, 1, 1, 9), "3")
    assert found[0].tolist() == [0, 0, 1, 4, 6, 4, 1, 0, 0]
    assert effective_size(found) == 5**0.5 and effective_size(found, share=0.5) == 3**0.5


def test_discrepancies_by_loops() -> None:
    """Every place written out: hide, ask again, and give each pixel the mean over the squares that cover it."""
    net, x, size, stride, grey = made(ConvNet()), images_of(1, 2, 12, 12), 3, 2, 0.25
    before = state_of(net)
    unit, places = Unit("conv2", 3, 1, 2), [0, 2, 4, 6, 8, 9]
    found = discrepancy_map(net, x, unit, size=size, stride=stride, grey=grey, batch_size=5)
    fields = receptive_fields(net, x)["conv2"]
    assert state_of(net) == before
    net.eval()

    def activation(image: Tensor) -> float:
        return float(forward_with_activations(net, image, ["conv2"])[1]["conv2"][0, 3, 1, 2].detach())

    total, count = torch.zeros(12, 12, dtype=torch.float64), torch.zeros(12, 12, dtype=torch.float64)
    for top, left in itertools.product(places, places):
        hidden = x.clone()
        hidden[0, :, top : top + size, left : left + size] = grey
        total[top : top + size, left : left + size] += abs(activation(hidden) - activation(x))
        count[top : top + size, left : left + size] += 1
    torch.testing.assert_close(found, total / count)
    # Occluders outside of the receptive field are left out, and nothing changes.
    known = discrepancy_map(net, x, unit, size=size, stride=stride, grey=grey, field=fields)
    torch.testing.assert_close(known, found)


def test_random_occluders_find_the_receptive_field_of_units_that_see_all_of_it() -> None:
    """With windows of one pixel and no weight of zero nothing is missed, and nothing outside is found."""
    net = positive(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(2, 1, (2, 3)))).double()
    x = images_of(1, 1, 12, 12)
    for unit in (Unit("2", 0, 0, 0), Unit("2", 0, 2, 3)):
        (top, bottom), (left, right) = (
            side.inside(place, 12)
            for side, place in zip(receptive_fields(net, x)["2"], (unit.row, unit.column), strict=True)
        )
        wanted = torch.zeros(12, 12, dtype=torch.bool)
        wanted[top : bottom + 1, left : right + 1] = True
        assert torch.equal(discrepancy_map(net, x, unit, size=1) > 0, wanted)


def test_occluder_fields_are_laid_over_each_other_at_their_units() -> None:
    """One bright pixel each, wherever it stands: the field is the kernel times what it sees."""
    kernel = torch.tensor([[0.0, 1.0, 2.0], [0.0, 9.0, 3.0], [5.0, 0.0, 4.0]], dtype=torch.float64)
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False)).double()
    net[0].weight.data.copy_(kernel[None, None])
    x = torch.full((3, 1, 7, 7), 0.1, dtype=torch.float64)
    places = [(2, 2), (4, 3), (3, 4)]  # no edge is near
    for image, (row, column) in zip(x, places, strict=True):
        image[0, row, column] = 10.0
    found = occluder_field(net, x, "0", 0, size=1, grey=0.0)
    wanted = torch.zeros(13, 13, dtype=torch.float64)
    wanted[5:8, 5:8] = 0.1 * kernel
    wanted[6, 6] = 10.0 * 9.0
    torch.testing.assert_close(found, wanted)
    assert effective_size(found, share=0.9) == 1.0 and effective_size(found, share=0.0) == 6**0.5


def test_mistakes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten())
    for layer, channel, settings, words in (
        ("0", 0, {"size": 5}, "does not fit"),
        ("0", 0, {"size": 1, "stride": 2}, "stride 1 to size"),
        ("0", 1, {"size": 1}, "no such map"),
        ("1", 0, {"size": 1}, "no maps"),
        ("9", 0, {"size": 1}, "no layer"),
    ):
        with pytest.raises(UserError, match=words):
            occluder_field(net, torch.zeros(2, 1, 4, 4), layer, channel, **settings)
    with pytest.raises(UserError, match="one image at a time"):
        discrepancy_map(net, torch.zeros(2, 1, 4, 4), Unit("0", 0), size=1)
    with pytest.raises(UserError, match="outside its map"):
        discrepancy_map(net, torch.zeros(1, 1, 4, 4), Unit("0", 0, 4, 0), size=1)
    for wrong in (
        {"kernel_size": 0},
        {"kernel_size": 1, "stride": 0},
        {"kernel_size": 1, "padding": -1},
        {"kernel_size": 1, "dilation": 0},
    ):
        with pytest.raises(UserError, match="out of range"):
            PIXELS.through(**wrong)
    with pytest.raises(UserError, match="step differently"):
        PIXELS.joined(PIXELS.through(1, stride=2))
    with pytest.raises(UserError, match="no maps"):
        effective_field(nn.Flatten(), torch.zeros(1, 1, 2, 2), "")
    with pytest.raises(UserError, match="must be images"):
        receptive_fields(nn.Conv2d(1, 1, 1), torch.zeros(1, 3))
    assert receptive_fields(nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), torch.zeros(1, 1, 1, 1)) == {}
    assert ReceptiveField(5, 1, 20).inside(0, 4) == (3, 3), "a unit that sees padding alone"
