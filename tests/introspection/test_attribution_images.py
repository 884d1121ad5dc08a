"""Occlusion, exciting images, images made from inside, filters, and the section of the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from chainrule.core.errors import UserError
from chainrule.introspection.attribution.budget import Budget
from chainrule.introspection.attribution.filters import first_filters
from chainrule.introspection.attribution.images import heat_map, image_grid, overlay, png, signed_grey, unnormalize
from chainrule.introspection.attribution.inversion import alpha_norm, class_image, invert, total_variation
from chainrule.introspection.attribution.layer_rows import _receptive_patch, representative_layers
from chainrule.introspection.attribution.occlusion import mean_over_squares, occlusion, positions
from chainrule.introspection.attribution.receptive_field.arithmetic import ReceptiveField
from chainrule.introspection.attribution.section import attribution_section
from chainrule.introspection.attribution.top_activations import crop, top_activations
from chainrule.introspection.explain import explain_run
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.run import Run
from chainrule.systems.backprop.networks import lenet
from chainrule.systems.feedforward.mlp import MLP
from chainrule.systems.image_classification.lenet import LeNet5, LeNetCaffe
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
from tests.introspection.attribution_nets import ConvNet, images_of, linear, made, state_of
from tests.trained import lenet_run


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return made(ConvNet())


@pytest.mark.parametrize(("size", "stride", "grey"), [(3, 1, 0.0), (5, 4, -1.5), (12, 1, 0.0), (1, 5, 0.0)])
def test_occlusion_against_a_loop(net: nn.Module, size: int, stride: int, grey: float) -> None:
    x = images_of(1, 2, 12, 12)
    before = state_of(net)
    found = occlusion(net, x, 2, size=size, stride=stride, grey=grey, batch_size=7)
    assert state_of(net) == before
    net.eval()
    starts = sorted({*range(0, 12 - size + 1, stride), 12 - size})
    assert found.shape == (len(starts), len(starts))
    for i, top in enumerate(starts):
        for j, left in enumerate(starts):
            hidden = x.clone()
            for row in range(top, top + size):
                hidden[0, :, row, left : left + size] = grey
            assert found[i, j].item() == pytest.approx(net(hidden).softmax(1)[0, 2].item(), rel=1e-6)


def test_occlusion_asks_about_the_class_of_the_whole_image() -> None:
    net = linear([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0]], (1, 1, 3))
    found = occlusion(net, torch.tensor([[[[1.0, 2.0, 2.0]]]]), size=1)
    wanted = [float(torch.tensor(pair).softmax(0)[0]) for pair in ([0.0, 4.0], [9.0, 3.0], [9.0, 3.0])]
    assert found[0].tolist() == pytest.approx(wanted)
    assert occlusion(linear([[1.0]], (1, 1, 1)), torch.ones(1, 1, 1, 1), size=1).tolist() == [[1.0]], "one class"


def test_the_mean_over_squares_against_a_loop() -> None:
    for length, size, stride in ((7, 3, 1), (7, 3, 2), (6, 6, 1), (7, 2, 5)):
        starts = positions(length, size, stride)
        values = images_of(1, 1, len(starts), len(starts))[0, 0]
        total, count = torch.zeros(length, length, dtype=torch.float64), torch.zeros(length, length)
        for i, top in enumerate(starts):
            for j, left in enumerate(starts):
                total[top : top + size, left : left + size] += values[i, j]
                count[top : top + size, left : left + size] += 1
        torch.testing.assert_close(
            mean_over_squares(values, (length, length), size, stride), total / count.clamp(min=1)
        )


def test_occlusion_refuses() -> None:
    net, x = linear([[1.0, 1.0]], (1, 1, 2)), torch.ones(1, 1, 1, 2)
    for wrong in ({"size": 2}, {"size": 0}, {"size": 1, "stride": 0}, {"size": 1, "batch_size": 0}):
        with pytest.raises(UserError, match="does not fit"):
            occlusion(net, x, **wrong)
    with pytest.raises(UserError, match="one image"):
        occlusion(net, torch.ones(2, 1, 1, 2), size=1)
    with pytest.raises(UserError, match="no such class"):
        occlusion(net, x, 1, size=1)


def test_top_activations_against_sorting(net: nn.Module) -> None:
    x = images_of(23, 2, 12, 12)
    x[7] = x[3]  # a tie: the first comes first
    before = state_of(net)
    found = top_activations(net, x, ["conv1", "bn2"], count=5, batch_size=4)
    assert state_of(net) == before
    net.eval()
    with torch.no_grad():
        conv1 = net.conv1(x)  # type: ignore[operator]
    for k in range(4):
        ranked = sorted((-float(conv1[n, k].max()), n) for n in range(23))[:5]
        top = found["conv1"]
        assert top.image[k].tolist() == [n for _, n in ranked]
        assert top.value[k].tolist() == pytest.approx([-v for v, _ in ranked])
        for rank in range(5):
            place = top.row[k, rank], top.column[k, rank]
            assert float(conv1[top.image[k, rank], k][place]) == pytest.approx(float(top.value[k, rank]))
    assert found["bn2"].value.shape == (5, 5)
    whole = top_activations(net, x, ["conv1"], count=99)["conv1"]
    assert whole.image.shape == (4, 23) and torch.equal(whole.image[:, :5], found["conv1"].image)
    doubled = top_activations(net, x[:3], ["conv1"], 1, prepare=lambda part: part * 0)["conv1"]
    assert doubled.image.tolist() == [[0]] * 4
    with pytest.raises(UserError, match="nothing to choose from"):
        top_activations(net, x[:0], ["conv1"])
    with pytest.raises(UserError, match="no maps"):
        top_activations(net, x, ["fc"])


def test_a_crop_is_what_the_unit_saw() -> None:
    """The part alone, where it has its full size, gives the activation again."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3))
    x = torch.randn(6, 1, 20, 20)
    top = top_activations(net, x, ["3"], count=2)["3"]
    field = ReceptiveField().through(3).through(2, 2).through(3)
    for k in range(2):
        part = crop(x[top.image[k, 0]], (field, field), int(top.row[k, 0]), int(top.column[k, 0]))
        assert part.shape == (1, 8, 8)
        assert float(net(part[None])[0, k, 0, 0].detach()) == pytest.approx(float(top.value[k, 0]), rel=1e-5)


def test_a_frame_is_as_large_for_every_unit() -> None:
    x = torch.arange(100, dtype=torch.uint8).view(1, 10, 10)
    field = ReceptiveField(size=4, jump=3, start=-2)
    grey = torch.full((1, 14, 14), 148, dtype=torch.uint8)
    grey[:, 2:12, 2:12] = x  # the image with two pixels around it
    for row in range(4):
        for column in range(4):
            wanted = grey[:, 3 * row : 3 * row + 4, 3 * column : 3 * column + 4]
            assert torch.equal(
                _receptive_patch(x, (field, field), (row, column))[:, : wanted.shape[1], : wanted.shape[2]], wanted
            )
    large = ReceptiveField(size=10, jump=3, start=-2)
    assert torch.equal(_receptive_patch(x, (field, large), (0, 0)), x) and torch.equal(
        _receptive_patch(x, None, (0, 0)), x
    )


def test_priors_against_loops() -> None:
    x = images_of(2, 3, 4, 5)
    for beta in (1.0, 2.0, 3.0):
        for n in range(2):
            total = 0.0
            for c in range(3):
                for i in range(4):
                    for j in range(5):
                        right = float(x[n, c, i, j + 1] - x[n, c, i, j]) if j < 4 else 0.0
                        below = float(x[n, c, i + 1, j] - x[n, c, i, j]) if i < 3 else 0.0
                        total += (right**2 + below**2) ** (beta / 2)
            assert float(total_variation(x, beta)[n]) == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(alpha_norm(x, 6.0), torch.from_numpy((np.abs(x.numpy()) ** 6).sum((1, 2, 3))))
    assert torch.autograd.gradcheck(total_variation, x.requires_grad_())
    assert total_variation(torch.zeros(1, 1, 1, 1), 1.0).item() < 1e-5
    flat = torch.ones(1, 1, 2, 2, requires_grad=True)
    total_variation(flat, 1.0).sum().backward()
    assert flat.grad is not None and bool(flat.grad.isfinite().all())


def test_inversion_of_an_invertible_map_gives_the_image_back() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 18)).double()
    nn.init.orthogonal_(net[1].weight)
    x = images_of(3, 2, 3, 3)
    made = invert(net, x, "1", steps=400, lr=0.1, variation=0.0, norm=0.0)
    torch.testing.assert_close(made.image, x, atol=1e-3, rtol=1e-3)
    assert len(made.objective) == 401 and made.objective[-1] < 1e-6 < made.objective[0]
    one, other = (invert(net, x[[0, n]], "1", steps=50).image[0] for n in (1, 2))
    torch.testing.assert_close(one, other, atol=1e-9, rtol=0)  # each goes its own way


def test_inversion_against_its_objective(net: nn.Module) -> None:
    x = images_of(1, 2, 12, 12)
    before = state_of(net)
    made = invert(net, x, "bn2", steps=60, norm=0.01, alpha=4.0, variation=0.1)
    assert state_of(net) == before and not made.image.requires_grad
    assert made.objective[-1] < 0.5 * made.objective[0]
    net.eval()
    a, b = (net.bn2(net.conv2(F.max_pool2d(F.relu(net.bn1(net.conv1(z))), 3, 2, 1))) for z in (made.image, x))  # type: ignore[operator]
    z = made.image
    by_hand = (a - b).square().sum() / b.square().sum() + (0.01 * z.pow(4).sum() + 0.1 * total_variation(z)[0]) / 288
    assert made.objective[-1] == pytest.approx(float(by_hand.detach()), rel=1e-6)
    again = invert(net, x, "bn2", steps=60, norm=0.01, alpha=4.0, variation=0.1)
    assert torch.equal(made.image, again.image)
    rough = invert(net, x, "bn2", steps=60, norm=0.0, variation=0.0)
    assert total_variation(rough.image)[0] > total_variation(made.image)[0], "the prior smooths"
    with pytest.raises(UserError, match="too few steps"):
        invert(net, x, "bn2", steps=0)
    assert bool(invert(linear([[0.0]], (1, 1, 1)), torch.ones(1, 1, 1, 1), "1").image.isfinite().all())


def test_the_image_of_a_class_in_closed_form() -> None:
    """A linear network: max w z - |z|^2 / n has its best at n w / 2 (the logit at the given image is 1)."""
    net = linear([[0.25, -0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]], (1, 2, 2)).double()
    x = torch.tensor([[[[4.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    made = class_image(net, x, 0, steps=500, lr=0.1, norm=1.0, variation=0.0)
    wanted = 4 / 2 * torch.tensor([[[[0.25, -0.5], [0.0, 0.5]]]], dtype=torch.float64)
    torch.testing.assert_close(made.image, wanted, atol=1e-4, rtol=1e-4)
    smooth = class_image(net, x, 0, steps=200, norm=1.0, variation=10.0)
    assert total_variation(smooth.image)[0] < total_variation(made.image)[0]
    with pytest.raises(UserError, match="no such class"):
        class_image(net, x, 2)


def test_images_as_bytes(tmp_path: Path) -> None:
    normalize = Normalize([0.2, 0.5, 0.4], [0.3, 0.1, 0.2])
    pixels = torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unnormalize(normalize(pixels[None])[0], normalize), pixels)
    assert unnormalize(torch.full((1, 2, 2), 3.0), None).tolist() == [[[0, 0], [0, 0]]], "one colour"
    assert signed_grey(torch.zeros(1, 2, 2)).unique().tolist() == [128]
    assert heat_map(torch.zeros(2, 2)).shape == (3, 2, 2)
    grey = torch.full((1, 8, 8), 100, dtype=torch.uint8)
    still, moved = (
        overlay(grey, torch.zeros(2, 2), signed=True),
        overlay(grey, torch.tensor([[1.0, -1.0]]), signed=True),
    )
    assert still[:, 0, 0].float().std() < 10, "no difference has no colour"
    assert moved[0, 0, 0] > moved[2, 0, 0] and moved[0, 0, 7] < moved[2, 0, 7], "red above, blue below"
    pale = overlay(grey, torch.full((1, 1), 0.001), signed=True, least=0.05)
    assert torch.allclose(pale.float(), still.float(), atol=4)
    sheet = image_grid(
        [torch.full((1, 2, 2), 9, dtype=torch.uint8), torch.zeros(3, 1, 2, dtype=torch.uint8)], 2, cell=2
    )
    assert sheet[0, 4, 4] == 9 and sheet[3, 0, 0] == 0 and sheet[3, 4, 4] == 255
    (tmp_path / "x.png").write_bytes(png(pixels, 10))
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (8, 10) and image.getpixel((2, 3)) == tuple(pixels[:, 1, 1].tolist())


def test_filters_are_of_the_layer_that_meets_the_pixels() -> None:
    conv = LeNetCaffe()
    found = first_filters(conv, torch.zeros(1, 1, 28, 28))
    assert found is not None and found.name == "conv1" and torch.equal(found.weight, conv.conv1.weight)
    perceptron = MLP(12, 3, (5,))
    found = first_filters(perceptron, torch.zeros(1, 3, 2, 2))
    assert found is not None and torch.equal(found.weight.flatten(1), perceptron.layers[0].weight)
    assert first_filters(nn.Flatten(), torch.zeros(1, 1, 1, 1)) is None
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 2))
    assert first_filters(pooled, torch.zeros(1, 1, 2, 2)) is None


def test_the_budget_counts() -> None:
    assert Budget(10, multiply_adds=600).forwards(100) == 60 and Budget(10, multiply_adds=600).gradients(100) == 20
    assert Budget(0, multiply_adds=6).forwards(7) == 6 and Budget(10, multiply_adds=600).gradients(5, share=0.5) == 5
    maps = {"a": (1, 9, 9), "b": (1, 9, 9)} | {f"c{n}": (1, n, n) for n in range(1, 9)}
    assert representative_layers(maps, 3) == ["a", "c3", "c8"] and representative_layers({}) == []


def names(section: dict[str, object] | None) -> list[str]:
    assert section is not None
    return [one_image["name"] for one_image in section["images"]]  # type: ignore[attr-defined]


ALL = [
    "The image",
    "Saliency",
    "SmoothGrad",
    "Integrated gradients",
    "Guided back-propagation",
    "Deconvnet",
    "Grad-CAM",
    "Occlusion",
    "What the class looks like to it",
]


def test_what_is_shown_of_which_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.introspection.attribution.section.MULTIPLY_ADDS", 3e8)
    torch.manual_seed(0)
    data, normalize = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8), Normalize([0.5], [0.25])
    x = normalize(data[:1])
    whole = attribution_section(
        LeNetCaffe(), (x,), classes=list("abcdefghij"), target=3, normalize=normalize, data=lambda: data
    )
    assert whole is not None and names(whole) == ALL and whole["target"] == "d" and not whole["notes"]
    assert [row.name for row in whole["layers"]] == ["conv1", "conv2"] and len(whole["layers"][0].maps) == 4
    assert whole["searched"] == 20 and whole["layers"][1].field["size"] == "14"
    perceptron = attribution_section(MLP(784, 10, (6,)), (x,))
    assert names(perceptron) == [name for name in ALL if name != "Grad-CAM"]
    assert perceptron is not None and "No layer gives maps" in perceptron["notes"][0] and not perceptron["layers"]
    assert perceptron["filters"]["size"] == "28 × 28"
    tanh = attribution_section(LeNet5(), (torch.randn(1, 1, 32, 32),))
    assert "Deconvnet" not in names(tanh) and tanh is not None and "no rectifier" in tanh["notes"][0]
    by_hand = attribution_section(lenet(), (x,))
    assert names(by_hand) == ["The image", "Occlusion"]
    assert by_hand is not None and "What needs gradients is left out" in by_hand["notes"][0]
    colour = attribution_section(ResNetCifar(8), (torch.randn(1, 3, 16, 16),))
    assert names(colour) == ALL and colour is not None and colour["filters"]["channels"] == 3
    for other in ((x, x), (torch.zeros(2, 1, 28, 28),), (torch.zeros(1, 3),)):
        assert attribution_section(nn.Flatten(), other) is None
    assert attribution_section(nn.Conv2d(1, 1, 1), (x,)) is None, "no logits"
    small = attribution_section(linear([[1.0]], (1, 1, 1)), (torch.ones(1, 1, 1, 1),))
    assert small is not None and small["probability"] == 1.0, "one pixel, one class"


def test_a_costly_network_is_shown_less() -> None:
    import chainrule.introspection.attribution.section as section

    x = torch.randn(1, 1, 28, 28)
    before = section.MULTIPLY_ADDS
    section.MULTIPLY_ADDS = 1e6
    try:
        found = attribution_section(LeNetCaffe(), (x,))
    finally:
        section.MULTIPLY_ADDS = before
    assert names(found) == ["The image", "Saliency", "Guided back-propagation", "Deconvnet", "Grad-CAM", "Occlusion"]
    assert found is not None and found["layers"][0].kept is None and found["layers"][0].effective is None


@pytest.fixture
def run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(tmp_path / "x.png")
    return Run.load(folder, "cpu"), str(tmp_path / "x.png")


def test_the_page_says_why_and_why_not(run: tuple[Run, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.introspection.attribution.section.MULTIPLY_ADDS", 3e8)
    text = explain_run(run[0], None, [run[1]], tmp_path / "e.html", target="7").read_text("utf-8")
    for words in (
        *ALL,
        "is the logit of <b>7</b>",
        "Zeiler and Fergus 2014",
        "What each layer sees and keeps",
        "All 20 filters",
        "of the test split",
    ):
        assert words in text, words
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    for wrong, message in (("eleven", "there is no class"), (10, "no such class")):
        with pytest.raises(UserError, match=message):
            explain_run(run[0], None, [run[1]], tmp_path / "f.html", target=wrong)
    with pytest.raises(UserError, match="name an image"):
        explain_run(run[0], None, [], tmp_path / "f.html", target=1)


def test_a_page_without_the_data(run: tuple[Run, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.data.dataset import Dataset

    def gone(self: object) -> None:
        raise UserError("there is no such folder", where="pictures")

    monkeypatch.setattr("chainrule.introspection.attribution.section.MULTIPLY_ADDS", 3e8)
    monkeypatch.setattr(Dataset, "test", property(gone))
    text = explain_run(run[0], None, [run[1]], tmp_path / "e.html").read_text("utf-8")
    assert "The images that excite the maps are left out: there is no such folder" in text
    assert "What excites the maps" not in text and "Grad-CAM" in text
