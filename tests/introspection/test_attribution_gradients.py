"""Gradients of a score, guided back-propagation and the deconvnet, against layers written out and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.pooling import max_pool2d_with_switches, unpool2d
from chainrule.introspection.attribution.grad_cam import default_target_layer, grad_cam
from chainrule.introspection.attribution.gradients import input_gradient, integrated_gradients, saliency, smooth_grad
from chainrule.introspection.attribution.guided_backpropagation import deconvnet, guided_backpropagation
from chainrule.introspection.attribution.target import (
    Unit,
    eval_with_grad,
    forward_with_activations,
    layers_with_maps,
    target_score,
)
from chainrule.systems.image_classification.lenet import LeNet5, LeNetCaffe
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
from tests.introspection.attribution_nets import ConvNet, images_of, linear, made, state_of

METHODS: dict[str, Callable[..., Tensor]] = {
    "input_gradient": input_gradient,
    "saliency": saliency,
    "integrated_gradients": integrated_gradients,
    "smooth_grad": smooth_grad,
    "guided": guided_backpropagation,
    "deconvnet": deconvnet,
    "grad_cam": grad_cam,
}


@pytest.fixture
def net() -> ConvNet:
    torch.manual_seed(0)
    net = made(ConvNet())
    assert isinstance(net, ConvNet)
    return net


def test_a_linear_networks_saliency_is_its_weight() -> None:
    net = linear([[1.0, -2.0, 3.0, 0.0, -5.0, 1.0], [0.0, 0.0, 0.0, 9.0, 0.0, 0.0]], (3, 1, 2))
    x = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 7.0]], [[0.0, 0.0]]]])
    # Logits (1, 0) and (0, 63): the top classes are 0 and 1.
    assert saliency(net, x).tolist() == [[[5.0, 2.0]], [[0.0, 9.0]]]
    assert saliency(net, x, 0)[1].tolist() == [[5.0, 2.0]]
    assert saliency(net, x, torch.tensor([1, 0])).tolist() == [[[0.0, 9.0]], [[5.0, 2.0]]]


def test_gradients_against_differences(net: ConvNet) -> None:
    x, net = images_of(2, 2, 12, 12), net.eval()
    found = input_gradient(net, x, 1)
    for place in ((0, 0, 0, 0), (0, 1, 5, 7), (1, 0, 11, 3), (1, 1, 6, 6)):
        step = torch.zeros_like(x)
        step[place] = 1e-6
        with torch.no_grad():
            slope = (net(x + step) - net(x - step))[place[0], 1] / 2e-6
        assert found[place].item() == pytest.approx(slope.item(), abs=1e-7)


def test_a_unit_is_asked_about_by_its_own_value(net: ConvNet) -> None:
    """The layer's own output, though what follows works in place; by place, and as the strongest of its map."""
    x = images_of(3, 2, 12, 12)
    with eval_with_grad(net):
        plain = net.conv1(x)
        here = target_score(net, x.clone().requires_grad_(), Unit("conv1", 2, 4, 9)).values
        most = target_score(net, x.clone().requires_grad_(), Unit("conv1", 2))
        batch_normed = target_score(net, x.clone().requires_grad_(), Unit("bn1", 1, 0, 0)).values
    torch.testing.assert_close(here, plain[:, 2, 4, 9])
    torch.testing.assert_close(most.values, plain[:, 2].amax((1, 2)))
    torch.testing.assert_close(batch_normed, net.bn1.eval()(plain)[:, 1, 0, 0])  # before ReLU writes over it
    weight = net.conv1.weight[2].detach()
    found = input_gradient(net, x, Unit("conv1", 2, 4, 9))
    torch.testing.assert_close(found[:, :, 3:6, 8:11], weight.expand(3, -1, -1, -1))
    assert int((found != 0).sum()) == 3 * weight.numel()
    hidden = target_score(nn.Sequential(nn.Flatten(), nn.Linear(288, 4).double()), x, Unit("1", 3)).values
    assert hidden.shape == (3,)


def forward_by_hand(net: ConvNet, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What each ReLU was given, and the switches of each pooling."""
    net.eval()
    a1 = net.bn1(net.conv1(x))
    p1, s1 = max_pool2d_with_switches(a1.relu(), 3, 2, 1)
    a2 = net.bn2(net.conv2(p1))
    _, s2 = max_pool2d_with_switches(a2.relu(), 2, 1)
    return [a1, a2], [s1, s2]


def normalising(bn: nn.BatchNorm2d) -> Tensor:
    """Batch normalisation in eval mode multiplies by this."""
    assert bn.running_var is not None
    return (bn.weight / (bn.running_var + bn.eps).sqrt())[:, None, None]


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@torch.no_grad()
def test_rules_against_a_network_taken_back_layer_by_layer(net: ConvNet, rule: str) -> None:
    """Unpooling by switches, the rule, the filters transposed: written out, without autograd."""
    x = images_of(4, 2, 12, 12)
    (a1, a2), (s1, s2) = forward_by_hand(net, x)

    def back(g: Tensor, a: Tensor) -> Tensor:
        return {"deconvnet": g.relu(), "guided": g.relu() * (a > 0), "gradient": g * (a > 0)}[rule]

    g = net.fc.weight[2].view(1, 5, 3, 3).expand(4, -1, -1, -1).contiguous()
    g = back(unpool2d(g, s2, (4, 4)), a2)
    g = F.conv_transpose2d(g * normalising(net.bn2), net.conv2.weight)
    g = back(unpool2d(g.contiguous(), s1, (12, 12)), a1)
    g = F.conv_transpose2d(g * normalising(net.bn1), net.conv1.weight, padding=1)
    method = {"deconvnet": deconvnet, "guided": guided_backpropagation, "gradient": input_gradient}[rule]
    torch.testing.assert_close(method(net, x, 2), g)


@torch.no_grad()
def test_the_deconvnet_of_a_unit_begins_with_its_activation(net: ConvNet) -> None:
    """Zeiler and Fergus: all else in the layer zero, and down from there."""
    x = images_of(2, 2, 12, 12)
    (_, a2), (s1, _) = forward_by_hand(net, x)
    k = int((a2.amax((0, 2, 3)) > 0).nonzero()[0])
    strongest = a2[:, k].flatten(1).argmax(1)
    alone = torch.zeros_like(a2)
    for row, place in enumerate(strongest.tolist()):
        alone[row, k, place // 4, place % 4] = a2[row, k, place // 4, place % 4]
    g = F.conv_transpose2d(alone * normalising(net.bn2), net.conv2.weight)
    g = unpool2d(g, s1, (12, 12)).relu()
    g = F.conv_transpose2d(g * normalising(net.bn1), net.conv1.weight, padding=1)
    torch.testing.assert_close(deconvnet(net, x, Unit("bn2", k)), g)


def test_every_spelling_of_relu_is_reached() -> None:
    weight, out = torch.tensor([[1.0, 2.0], [-1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    spellings: list[Callable[[Tensor], Tensor]] = [
        F.relu,
        torch.relu,
        torch.relu_,
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: F.relu(x, inplace=True),
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu_,
    ]

    class Net(nn.Module):
        def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.relu = relu

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(x.flatten(1) @ weight.T) @ out.T

    for relu in spellings:
        x = torch.tensor([[[[3.0, 1.0]]]])  # hidden 5 and -2
        assert input_gradient(Net(relu), x).tolist() == [[[[1.0, 2.0]]]]
        assert guided_backpropagation(Net(relu), x).tolist() == [[[[1.0, 2.0]]]]
        y = torch.tensor([[[[1.0, 3.0]]]])  # hidden 7 and 2
        assert input_gradient(Net(relu), y).tolist() == [[[[2.0, 1.0]]]]
        assert guided_backpropagation(Net(relu), y).tolist() == [[[[1.0, 2.0]]]]


@pytest.mark.parametrize("make", [LeNet5, lambda: ResNetCifar(8, in_channels=1), LeNetCaffe])
def test_the_networks_of_the_house(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = make()
    x = torch.randn(2, 1, 28 if make is LeNetCaffe else 32, 28 if make is LeNetCaffe else 32)
    for name, method in METHODS.items():
        found = method(net, x)
        assert bool(found.isfinite().all()) and float(found.abs().max()) > 0, name
    plain, guided = input_gradient(net, x), guided_backpropagation(net, x)
    assert torch.equal(plain, guided) == (make is LeNet5), "tanh has no rectifier"


def test_completeness(net: ConvNet) -> None:
    x, baseline = images_of(3, 2, 12, 12), images_of(3, 2, 12, 12, seed=1)
    net.eval()
    for base in (0.0, baseline):
        found = integrated_gradients(net, x, 1, base, steps=200)
        with torch.no_grad():
            wanted = (net(x) - net(base if isinstance(base, Tensor) else torch.zeros_like(x)))[:, 1]
        torch.testing.assert_close(found.sum((1, 2, 3)), wanted, atol=5e-3, rtol=5e-3)
    square = integrated_gradients(Square(), x[:1, :1], 0, steps=1)  # the midpoint rule is exact for x^2
    torch.testing.assert_close(square, x[:1, :1].square())


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1, keepdim=True)


def test_smooth_grad_is_the_mean_over_noise() -> None:
    x = images_of(2, 1, 3, 4)
    found = smooth_grad(Square().double(), x, 0, noise=0.5, samples=2, seed=7)
    generator = torch.Generator().manual_seed(7)
    noise = torch.stack([torch.randn(x.shape, generator=generator) for _ in range(2)]).double().mean(0)
    reach = 0.5 * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    torch.testing.assert_close(found, 2 * (x + reach * noise), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(smooth_grad(Square(), x, 0, noise=0.0), 2 * x)


def test_grad_cam_by_hand(net: ConvNet) -> None:
    """Against hooks, backward() and sums in a loop; at a layer that is written over afterwards."""
    x = images_of(2, 2, 12, 12)
    found = grad_cam(net, x, torch.tensor([0, 2]), "conv2")
    net.eval()
    kept: dict[str, Tensor] = {}

    def hook(module: nn.Module, args: object, out: Tensor) -> None:
        kept["a"] = out
        out.register_hook(lambda gradient: kept.update(g=gradient))

    handle = net.conv2.register_forward_hook(hook)
    logits = net(x)
    handle.remove()
    (logits[0, 0] + logits[1, 2]).backward()
    for row in range(2):
        total = torch.zeros(4, 4, dtype=torch.float64)
        for k in range(5):
            total += kept["g"][row, k].sum() / 16 * kept["a"][row, k].detach()
        torch.testing.assert_close(found[row], total.clamp(min=0))
    assert default_target_layer(net, x) == "bn2"
    torch.testing.assert_close(grad_cam(net, x, 1), grad_cam(net, x, 1, "bn2"))


def test_layers_with_maps_come_in_the_order_of_their_ends() -> None:
    net = ResNetCifar(8, in_channels=1)
    found = layers_with_maps(net, torch.zeros(1, 1, 32, 32))
    assert list(found)[-2:] == ["stage3.0", "stage3"] and found["stage2"] == (32, 16, 16)
    assert default_target_layer(LeNet5(), torch.zeros(1, 1, 32, 32)) == "s4", "c5 gives one pixel"


@pytest.mark.parametrize("name", METHODS)
def test_the_module_is_left_as_it_was(net: ConvNet, name: str) -> None:
    before = state_of(net)
    x = images_of(2, 2, 12, 12)
    found = METHODS[name](net, x)
    assert state_of(net) == before
    assert not found.requires_grad and not x.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(METHODS[name](net, x), found)
    with torch.inference_mode():
        torch.testing.assert_close(METHODS[name](net, images_of(2, 2, 12, 12)), found)
    net.requires_grad_(False)  # frozen networks are looked into as well
    torch.testing.assert_close(METHODS[name](net, x), found)
    one = METHODS[name](net, x[:1])
    if name != "smooth_grad":  # whose noise depends on the batch
        torch.testing.assert_close(one, found[:1])
    with pytest.raises(UserError):
        METHODS[name](net, x, 3)
    net.requires_grad_(True)
    assert state_of(net) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net, x = ConvNet(), torch.randn(2, 2, 12, 12)
    exact = guided_backpropagation(net, x, 1)
    half = guided_backpropagation(net.to(dtype), x.to(dtype), 1)
    assert half.dtype == dtype
    similar = F.cosine_similarity(exact.flatten(), half.float().flatten(), 0)
    assert similar > 0.95


def test_hostile_images_and_networks() -> None:
    one = linear([[2.0]], (1, 1, 1))  # one pixel, one class
    x = torch.tensor([[[[3.0]]]])
    assert saliency(one, x).tolist() == [[[2.0]]] and integrated_gradients(one, x).item() == pytest.approx(6.0)
    assert guided_backpropagation(one, x).tolist() == [[[[2.0]]]], "no rectifier: the gradient"
    with pytest.raises(UserError, match="no layer gives maps"):
        grad_cam(one, x)
    with pytest.raises(UserError, match="no logits"):
        saliency(nn.Conv2d(1, 1, 1), x)
    with pytest.raises(UserError, match="no maps"):
        grad_cam(one, x, layer="1")
    for wrong in (torch.zeros(1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.zeros(0, 1, 1, 1)):
        with pytest.raises(UserError, match="x must be images"):
            saliency(one, wrong)
    with pytest.raises(UserError, match="no such class"):
        saliency(one, x, -1)
    with pytest.raises(UserError, match="did you mean 1"):
        forward_with_activations(one, x, ["11"])
    for unit, message in ((Unit("1", 1), "no such map"), (Unit("9", 0), "there is no layer")):
        with pytest.raises(UserError, match=message):
            input_gradient(one, x, unit)
    with pytest.raises(UserError, match="outside its map"):
        input_gradient(nn.Sequential(nn.Conv2d(1, 1, 1)), x, Unit("0", 0, 0, 1))
    with pytest.raises(UserError, match="too few steps"):
        integrated_gradients(one, x, steps=0)
    with pytest.raises(UserError, match="out of range"):
        smooth_grad(one, x, samples=0)


class Unfollowed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().flatten(1)


def test_a_network_that_autograd_does_not_follow() -> None:
    with pytest.raises(UserError, match="no gradient reaches the image"):
        saliency(Unfollowed(), torch.zeros(1, 1, 1, 2))
    with pytest.raises(UserError, match="gives no tensor"):
        forward_with_activations(Aside(), torch.zeros(1, 1, 1, 2), ["idle"])


class Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle, self.used = nn.Linear(1, 1), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x.flatten(1))
