"""The published networks against torchvision's modules with the same random weights, and against re-statements."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.models import all_cards, build, published_weights
from chainrule.systems.image_classification.googlenet import Head, HeadBN
from tests.torchvision_oracle import torchvision

State = dict[str, Tensor]


def filled(module: nn.Module) -> nn.Module:
    """Random parameters and running statistics that keep the maps' scale, so that no layer hides a mistake."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5)
            elif value.dim() == 1:
                value.uniform_(-0.1, 0.1)
            elif value.dim() > 1:
                value.uniform_(-1, 1).mul_((6 / value[0].numel()) ** 0.5)
    return module


def close(found: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# Ours, torchvision's builder, its settings, side of the images.
PEERS = [
    ("alexnet-one-tower", "alexnet", {}, 70),
    ("resnet18", "resnet18", {}, 40),
    ("resnet50", "resnet50", {}, 40),
    ("vgg11", "vgg11", {}, 32),
    ("vgg11-bn", "vgg11_bn", {}, 33),
    ("googlenet-bn", "googlenet", {"aux_logits": False, "init_weights": False}, 64),
]


@pytest.mark.parametrize(("ours", "theirs", "settings", "size"), PEERS, ids=[p[0] for p in PEERS])
def test_outputs_and_gradients_are_torchvisions(ours: str, theirs: str, settings: dict[str, Any], size: int) -> None:
    """One memory for both sets of weights, so that a VGG of 0.5 GB is held once; no gradient of its largest matrix."""
    heavy = ours.startswith(("vgg", "alexnet"))
    dtype = torch.float32 if heavy else torch.float64
    with torch.device("meta"):
        mine = build(ours, num_classes=7)
        peer = getattr(torchvision().models, theirs)(num_classes=7, **settings)
    state = {
        name: torch.zeros(v.shape, dtype=dtype if v.is_floating_point() else v.dtype)
        for name, v in peer.state_dict().items()
    }
    assert mine.load_state_dict(state, strict=True, assign=True) and peer.load_state_dict(
        state, strict=True, assign=True
    )
    filled(mine)
    x, out = torch.randn(2, 3, size, size, dtype=dtype), torch.randn(2, 7, dtype=dtype)
    for module in (mine, peer):
        for parameter in module.parameters():
            parameter.requires_grad_(not (heavy and parameter.numel() > 2e7))
    with torch.no_grad():
        found = mine.eval()(x)
        close(found, peer.eval()(x), 1e-5 if heavy else 1e-10)
        assert found.std() > 1e-3, "nothing of the image arrives"
    gradients = []
    for module in (mine, peer):
        module.train()
        torch.manual_seed(2)  # the same units are dropped
        learnt = {name: p for name, p in module.named_parameters() if p.requires_grad}
        gradients.append(
            dict(zip(learnt, torch.autograd.grad((module(x) * out).sum(), list(learnt.values())), strict=True))
        )
        for name, buffer in module.named_buffers():  # the second begins from the same statistics
            if name.endswith("running_mean"):
                buffer.zero_()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        close(gradient, gradients[1][name], 1e-4 if heavy else 1e-9)


def test_googlenet_with_heads_is_torchvisions() -> None:
    peer = torchvision().models.googlenet(num_classes=5, aux_logits=True, init_weights=False).double()
    mine = build("googlenet-bn", num_classes=5, heads=True).double()
    mine.load_state_dict(filled(peer).state_dict(), strict=True)
    peer.load_state_dict(mine.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    peer.eval()
    mine.eval()
    logits, first, second = mine.with_heads(x)
    peer.training = True  # the heads are asked, and every layer stays in eval
    expected = peer(x)
    close((logits, first, second), (expected.logits, expected.aux_logits1, expected.aux_logits2), 1e-10)
    peer.training = False
    close(mine(x), peer(x), 1e-10)


@pytest.mark.parametrize("head", [Head, HeadBN])
def test_the_heads_of_googlenet_drop_seven_units_of_ten(head: type[nn.Module]) -> None:
    """What comes before the last layer, all of it above 0: seven tenths are 0 in training, the others 10/3 of what they are."""
    torch.manual_seed(0)
    module = head(4, 2, 4000, 3)  # type: ignore[arg-type]
    hidden, last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    hidden.bias.data.fill_(10.0)
    seen: list[Tensor] = []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    x = torch.randn(2, 4, 14, 14)
    with torch.no_grad():
        module.train()(x)
        module.eval()(x)
    assert seen[0].eq(0).double().mean().item() == pytest.approx(0.7, abs=0.02) and seen[1].ne(0).all()
    assert seen[0][seen[0] > 0].mean().item() == pytest.approx(10.0 / 0.3, rel=0.05)


def test_googlenets_preprocessing_is_what_torchvision_does_inside() -> None:
    """torchvision turns ImageNet's normalisation back and scales to -1 to 1; our record of the weights says it at once."""
    peer = torchvision().models.googlenet(num_classes=5, aux_logits=False, init_weights=False, transform_input=True)
    mine = build("googlenet-bn", num_classes=5)
    mine.load_state_dict(filled(peer).state_dict())
    pixels = torch.rand(2, 3, 48, 48)
    wanted = published_weights("googlenet-bn").preprocessing
    usual = published_weights("resnet50").preprocessing

    def normalised(p: Any) -> Tensor:
        return (pixels - torch.tensor(p.mean)[:, None, None]) / torch.tensor(p.std)[:, None, None]

    with torch.no_grad():
        close(mine.eval()(normalised(wanted)), peer.eval()(normalised(usual)), 1e-4)


WITH_WEIGHTS = [card for card in all_cards().values() if "torchvision" in card.weights]


@pytest.mark.parametrize("card", WITH_WEIGHTS, ids=lambda card: card.name)
def test_the_table_of_published_weights_is_torchvisions(card: Any) -> None:
    name = {"alexnet-one-tower": "alexnet", "googlenet-bn": "googlenet"}.get(card.name, card.name.replace("-", "_"))
    vision = torchvision()
    weights = vision.models.get_model_weights(name).IMAGENET1K_V1
    ours, transforms = card.weights["torchvision"], weights.transforms()
    assert ours.address == weights.url and weights.meta["num_params"] == card.parameters
    assert ours.accuracy == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)
    assert (ours.preprocessing.size, ours.preprocessing.resize) == (transforms.crop_size[0], transforms.resize_size[0])
    assert transforms.interpolation.value == "bilinear" and transforms.antialias
    if name != "googlenet":
        assert (ours.preprocessing.mean, ours.preprocessing.std) == (tuple(transforms.mean), tuple(transforms.std))
    with torch.device("meta"):
        settings = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
        peer = vision.models.get_model(name, **settings).state_dict()
        mine = card.build(**({"heads": True} if settings else {})).state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in peer.items()}


# -- against re-statements ------------------------------------------------------------------------------------------


def normalised_across(x: Tensor, alpha_over_n: float, k: float) -> Tensor:
    """Krizhevsky's section 3.3, channel by channel: the sum runs over at most two neighbours on each side."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        near = x[:, max(0, i - 2) : i + 3]
        out[:, i] = x[:, i] / (k + alpha_over_n * near.square().sum(1)) ** 0.75
    return out


def pooled(x: Tensor, size: int, stride: int, padding: int = 0) -> Tensor:
    """The largest number of windows that may hang over the right and lower edge, one by one."""
    side = x.shape[-1]
    count = -(-(side + 2 * padding - size) // stride) + 1
    if padding and (count - 1) * stride >= side + padding:
        count -= 1
    starts = [i * stride - padding for i in range(count)]
    rows = [
        torch.stack([x[..., max(0, r) : r + size, max(0, c) : c + size].amax((2, 3)) for c in starts], -1)
        for r in starts
    ]
    return torch.stack(rows, -2)


def grouped(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """Two towers: each half of the filters sees its half of the maps."""
    halves = zip(x.chunk(2, 1), weight.chunk(2), bias.chunk(2), strict=True)
    return torch.cat([F.conv2d(part, w, b, padding=padding) for part, w, b in halves], 1).relu()


@pytest.mark.parametrize(
    ("name", "form", "alpha", "k"),
    [("alexnet", "paper", 1e-4, 2.0), ("alexnet", "caffe", 2e-5, 1.0), ("caffenet", "caffenet", 2e-5, 1.0)],
)
def test_alexnet_is_its_restatement(name: str, form: str, alpha: float, k: float) -> None:
    net = filled(build(name, num_classes=6, form=form, size=99, width=1 / 8)).double().eval()
    w, x = net.state_dict(), torch.randn(2, 3, 99, 99, dtype=torch.float64) * 20

    def between(h: Tensor) -> Tensor:
        if form == "caffenet":
            return normalised_across(pooled(h, 3, 2), alpha, k)
        return pooled(normalised_across(h, alpha, k), 3, 2)

    def of(layer: str) -> tuple[Tensor, Tensor]:
        return w[f"{layer}.weight"], w[f"{layer}.bias"]

    h = between(F.conv2d(x, *of("features.conv1"), stride=4).relu())
    h = between(grouped(h, *of("features.conv2"), 2))
    h = F.conv2d(h, *of("features.conv3"), padding=1).relu()
    h = pooled(grouped(grouped(h, *of("features.conv4"), 1), *of("features.conv5"), 1), 3, 2).flatten(1)
    for layer in ("fc6", "fc7"):
        h = F.linear(h, *of(f"classifier.{layer}")).relu()
    close(net(x), F.linear(h, *of("classifier.fc8")), 1e-10)


def test_alexnet_begins_as_described() -> None:
    """Section 5 of the paper; Caffe's train_val.prototxt of each."""
    for form, linear, bias in (("paper", 0.01, 1.0), ("caffe", 0.005, 0.1), ("caffenet", 0.005, 1.0)):
        torch.manual_seed(0)
        net = build("alexnet", form=form, width=0.25, size=67)
        for name, layer in (*net.features.named_children(), *net.classifier.named_children()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                assert float(layer.weight.detach().std()) == pytest.approx(
                    linear if name in ("fc6", "fc7") else 0.01, rel=0.05
                ), name
                expected = bias if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0
                assert (layer.bias == expected).all(), name


def googlenet_restated(w: State, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Caffe's description, layer by layer; logits and those of the heads."""

    def conv(h: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(h, w[f"{name}.0.weight"], w[f"{name}.0.bias"], stride, padding).relu()

    def inception(h: Tensor, name: str) -> Tensor:
        name = f"inception{name}"
        three = conv(conv(h, f"{name}.threes.0"), f"{name}.threes.1", padding=1)
        five = conv(conv(h, f"{name}.fives.0"), f"{name}.fives.1", padding=2)
        return torch.cat([conv(h, f"{name}.ones"), three, five, conv(pooled(h, 3, 1, 1), f"{name}.pooled.1")], 1)

    def head(h: Tensor, name: str) -> Tensor:
        h = torch.stack(
            [torch.stack([h[..., r : r + 5, c : c + 5].mean((2, 3)) for c in (0, 3, 6, 9)], -1) for r in (0, 3, 6, 9)],
            -2,
        )
        h = F.linear(conv(h, f"{name}.conv").flatten(1), w[f"{name}.fc.0.weight"], w[f"{name}.fc.0.bias"]).relu()
        return F.linear(h, w[f"{name}.classifier.weight"], w[f"{name}.classifier.bias"])

    h = normalised_across(pooled(conv(x, "stem.0", 2, 3), 3, 2), 2e-5, 1.0)
    h = pooled(normalised_across(conv(conv(h, "stem.3"), "stem.4", padding=1), 2e-5, 1.0), 3, 2)
    a = inception(pooled(inception(inception(h, "3a"), "3b"), 3, 2), "4a")
    d = inception(inception(inception(a, "4b"), "4c"), "4d")
    h = inception(inception(pooled(inception(d, "4e"), 3, 2), "5a"), "5b").mean((2, 3))
    return F.linear(h, w["classifier.weight"], w["classifier.bias"]), head(a, "aux1"), head(d, "aux2")


def test_googlenet_is_its_restatement() -> None:
    net = filled(build("googlenet", num_classes=6, heads=True, width=1 / 8)).double().eval()
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64) * 10
    with torch.no_grad():
        expected = googlenet_restated(dict(net.state_dict()), x)
        close(net.with_heads(x), expected, 1e-10)
        close(net(x), expected[0], 1e-10)


def test_googlenet_begins_as_caffes() -> None:
    """Biases 0.2, and 0 before a softmax; also where a layer happens to have as many maps as there are classes."""
    net = build("googlenet", num_classes=64, heads=True)
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = (3 / layer.weight[0].numel()) ** 0.5
            assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound * (1 + 1e-6)  # rounded in float32
            assert (layer.bias == (0.0 if name.endswith("classifier") else 0.2)).all(), name


def inception_resnet_restated(w: State, x: Tensor, blocks: tuple[int, int, int]) -> Tensor:
    """Sandberg's description, with TensorFlow's `same` and `valid` as paddings; answers of eval."""

    def conv(h: Tensor, name: str, stride: int = 1, padding: Any = 0) -> Tensor:
        h = F.conv2d(h, w[f"{name}.0.weight"], None, stride, padding)
        mean, var = (w[f"{name}.1.running_{part}"][:, None, None] for part in ("mean", "var"))
        return ((h - mean) / (var + 0.001).sqrt() + w[f"{name}.1.bias"][:, None, None]).relu()

    def residual(h: Tensor, name: str, branches: list[Tensor], scale: float) -> Tensor:
        up = F.conv2d(torch.cat(branches, 1), w[f"{name}.up.weight"], w[f"{name}.up.bias"])
        return h + scale * up

    def crossed(h: Tensor, name: str, scale: float, long: int) -> Tensor:
        b = f"{name}.branches"
        side = conv(conv(conv(h, f"{b}.1.0"), f"{b}.1.1", 1, (0, long)), f"{b}.1.2", 1, (long, 0))
        return residual(h, name, [conv(h, f"{b}.0"), side], scale)

    h = conv(conv(conv(x, "stem.0", 2), "stem.1"), "stem.2", 1, 1)
    h = conv(conv(conv(F.max_pool2d(h, 3, 2), "stem.4"), "stem.5"), "stem.6", 2)
    for i in range(blocks[0]):
        b = f"blocks35.{i}.branches"
        two, three = (conv(conv(h, f"{b}.{j}.0"), f"{b}.{j}.1", 1, 1) for j in (1, 2))
        h = residual(h, f"blocks35.{i}", [conv(h, f"{b}.0"), two, conv(three, f"{b}.2.2", 1, 1)], 0.17).relu()
    b = "reduce_a.branches"
    side = conv(conv(conv(h, f"{b}.1.0"), f"{b}.1.1", 1, 1), f"{b}.1.2", 2)
    h = torch.cat([conv(h, f"{b}.0", 2), side, F.max_pool2d(h, 3, 2)], 1)
    for i in range(blocks[1]):
        h = crossed(h, f"blocks17.{i}", 0.10, 3).relu()
    b = "reduce_b.branches"
    sides = [conv(conv(h, f"{b}.{j}.0"), f"{b}.{j}.1", 2) for j in (0, 1)]
    third = conv(conv(conv(h, f"{b}.2.0"), f"{b}.2.1", 1, 1), f"{b}.2.2", 2)
    h = torch.cat([*sides, third, F.max_pool2d(h, 3, 2)], 1)
    for i in range(blocks[2]):
        h = crossed(h, f"blocks8.{i}", 0.20, 1).relu()
    h = crossed(h, f"blocks8.{blocks[2]}", 1.0, 1).mean((2, 3)) @ w["fc.weight"].T
    h = (h - w["bn.running_mean"]) / (w["bn.running_var"] + 0.001).sqrt() + w["bn.bias"]
    return h / h.norm(dim=1, keepdim=True)


def test_inception_resnet_is_its_restatement() -> None:
    blocks = (2, 2, 2)
    net = filled(build("inception-resnet-v1", embedding=9, width=1 / 8, blocks=blocks)).double().eval()
    x = torch.randn(2, 3, 107, 107, dtype=torch.float64)
    with torch.no_grad():
        found = net(x)
        close(found, inception_resnet_restated(dict(net.state_dict()), x, blocks), 1e-10)
    close(found.norm(dim=1), torch.ones(2, dtype=torch.float64), 1e-12)


def test_shift_is_batch_normalisation_with_scale_one() -> None:
    from chainrule.systems.image_classification.inception_resnet import Shift

    ours, theirs = Shift(5).double(), nn.BatchNorm2d(5, eps=0.001, momentum=0.005).double()
    x = torch.randn(4, 5, 3, 3, dtype=torch.float64) * 3 + 1
    close(ours(x), theirs(x), 1e-12)
    close((ours.running_mean, ours.running_var), (theirs.running_mean, theirs.running_var), 1e-12)
