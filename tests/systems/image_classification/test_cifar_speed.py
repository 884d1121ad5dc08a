"""The speed recipe and its parts: the network, Muon, alternating mirror images, six views; oracles are re-statements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from chainrule import train
from chainrule.core.errors import UserError
from chainrule.data.images.augment import AlternatingFlip, Moment, shift
from chainrule.optim.muon import COEFFICIENTS, Muon, orthogonal
from chainrule.run.run import Run
from chainrule.systems.image_classification.cifar_net import CifarNet
from chainrule.systems.image_classification.test_time_augmentation import FlipAverage, FlipShiftAverage


def restated(net: CifarNet, x: Tensor) -> Tensor:
    """The forward pass in training mode written out in float64, batch norm by its definition."""
    w = {name: p.double() for name, p in net.state_dict().items()}

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), unbiased=False, keepdim=True)
        return (h - mean) / (var + 1e-12).sqrt() + w[f"{name}.bias"].view(-1, 1, 1)

    def gelu(h: Tensor) -> Tensor:
        return h * (1 + torch.erf(h / 2**0.5)) / 2

    h = gelu(F.conv2d(x.double(), w["patches.weight"], w["patches.bias"]))
    for stage in ("stage1", "stage2", "stage3"):
        h = F.conv2d(h, w[f"{stage}.conv1.weight"], padding="same").unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        h = F.conv2d(gelu(norm(h, f"{stage}.norm1")), w[f"{stage}.conv2.weight"], padding="same")
        h = gelu(norm(h, f"{stage}.norm2"))
    h = nn.MaxPool2d(h.shape[-1])(h).flatten(1)  # what is left of 32 x 32 is 3 x 3
    return h @ w["head.weight"].T / h.shape[1]


def test_the_network_is_the_published_one() -> None:
    torch.manual_seed(0)
    net = CifarNet()
    conv = sum(9 * a * b for a, b in ((24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 24 + conv + 2 * 64 + 4 * 256 + 2560
    x = torch.randn(4, 3, 32, 32)
    for p in net.parameters():
        if p.dim() == 1 and p.requires_grad:
            nn.init.normal_(p)
    assert torch.allclose(net.train()(x).double(), restated(net, x), atol=1e-5)
    assert CifarNet().head.weight.std().item() == pytest.approx(1.0)


def test_convolutions_begin_as_identities() -> None:
    stage = CifarNet(widths=(30, 12, 40)).stage1
    x = torch.randn(2, 24, 6, 6)
    assert torch.allclose(stage.conv1(x)[:, :24], x, atol=1e-6) and not torch.allclose(stage.conv1(x)[:, 24:], x[:, :6])
    assert torch.allclose(stage.conv2(x30 := torch.randn(2, 30, 6, 6)), x30, atol=1e-6)
    narrow = CifarNet(widths=(30, 12, 40)).stage2.conv1
    assert torch.allclose(narrow(x30), x30[:, :12], atol=1e-6)


def test_patches_come_out_white() -> None:
    torch.manual_seed(0)
    x = F.avg_pool2d(torch.randn(64, 3, 34, 34), 3, 1) @ torch.eye(32)  # neighbours are correlated
    net = CifarNet()
    net.whiten(x, eps=0.0)
    y = net.patches(x).double()  # the bias is 0
    flat = y[:, :12].permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(flat @ flat.T / flat.shape[1], torch.eye(12).double(), atol=1e-3)
    assert torch.allclose(y[:, 12:], -y[:, :12])
    net.whiten(x, eps=0.1)
    values = torch.linalg.eigvalsh((p := F.unfold(x, 2).transpose(1, 2).flatten(0, 1)).T @ p / len(p))
    power = net.patches(x)[:, :12].square().mean((0, 2, 3))
    assert torch.allclose(power, values / (values + 0.1), atol=1e-3)


def test_images_that_are_too_small_are_told() -> None:
    assert CifarNet()(torch.randn(2, 3, 9, 9)).shape == (2, 10)
    with pytest.raises(UserError, match="too small for the network of the speed records"):
        CifarNet()(torch.randn(2, 3, 8, 8))


def test_there_are_three_stages(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="three stages"):
        train("cifar-speed", data="digits", out=tmp_path / "run", batch_size=100, widths=(16, 24))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5)])
def test_orthogonal_against_the_singular_values(shape: tuple[int, int]) -> None:
    """The iteration is an odd polynomial of each singular value: U p(S) V^T, by a decomposition in float64."""
    torch.manual_seed(0)
    m = torch.randn(3, *shape, dtype=torch.float64)
    a, b, c = COEFFICIENTS
    u, s, vh = torch.linalg.svd(m, full_matrices=False)
    s = s / (s.square().sum(-1, keepdim=True).sqrt() + 1e-7)
    for _ in range(4):
        s = a * s + b * s**3 + c * s**5
    assert torch.allclose(orthogonal(m, 4), u @ (s[..., None] * vh), atol=1e-10)


def test_orthogonal_of_nothing_is_nothing() -> None:
    assert orthogonal(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert torch.isfinite(orthogonal(torch.full((2, 3), 1e30))).all()


def test_an_orthogonalised_matrix_has_the_singular_values_of_the_quintic() -> None:
    """Singular values go through s -> 3.4445 s - 4.7750 s^3 + 2.0315 s^5 five times; the singular vectors stay."""
    values = torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64)
    u, v = (torch.linalg.qr(torch.randn(n, 3, dtype=torch.float64))[0] for n in (5, 4))
    s = values / (values.norm() + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonal((u * values) @ v.T), (u * s) @ v.T, rtol=0, atol=1e-12)


def test_muon_is_torchs_where_torch_has_it() -> None:
    """torch.optim.Muon works in bfloat16, so only about; its rate is scaled to that of Adam, undone here."""
    torch.manual_seed(0)
    begin = torch.randn(8, 8)
    ours, theirs = (nn.Parameter(begin.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.1, momentum=0.9)
    other = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0, ns_steps=5)
    for _ in range(5):
        grad = torch.randn(8, 8)
        # torch averages, v <- mu v + (1 - mu) g and mu v + (1 - mu) g after that; the direction is the same.
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        mine.step()
        other.step()
    assert torch.allclose(ours, theirs, atol=0.02) and (ours - begin).detach().norm() > 0.5


def test_muon_step_by_step() -> None:
    """Three steps restated in float64: the momentum, its orthogonal part, the weights' length; a group that is plain."""
    torch.manual_seed(0)
    w, bias = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    p, q = nn.Parameter(w.clone()), nn.Parameter(bias.clone())
    plain = {"params": [q], "lr": 0.5, "momentum": 0.8, "weight_decay": 0.1, "orthogonalise": False}
    rule = Muon([{"params": [p]}, plain], lr=0.2, momentum=0.6, keep_norm=True, steps=3)
    theirs = torch.optim.SGD([r := nn.Parameter(bias.clone())], 0.5, 0.8, weight_decay=0.1, nesterov=True)
    v = torch.zeros(4, 12, dtype=torch.float64)
    w = w.flatten(1)
    for _ in range(3):
        p.grad, q.grad = torch.randn_like(p), torch.randn_like(q)
        r.grad = q.grad.clone()
        rule.step()
        theirs.step()
        g = p.grad.flatten(1)
        v = 0.6 * v + g
        w = w * 4**0.5 / w.norm() - 0.2 * orthogonal(g + 0.6 * v, 3)
    assert torch.allclose(p.flatten(1), w, atol=1e-12) and torch.allclose(q, r, atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "settings", "message"),
    [
        ([torch.zeros(3)], {}, "no matrix"),
        ([torch.zeros(3, 3)], {"lr": -1.0}, "lr cannot be"),
        ([torch.zeros(3, 3)], {"momentum": 1.0}, "momentum cannot be"),
        ([torch.zeros(3, 3)], {"weight_decay": 0.1}, "does not shorten"),
        ([torch.zeros(3, 3)], {"steps": 0}, "steps cannot be"),
    ],
)
def test_muon_refuses(parameters: list[Tensor], settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Muon([nn.Parameter(p) for p in parameters], **settings)  # type: ignore[arg-type]


def test_mirrored_in_turn() -> None:
    flip, x = AlternatingFlip(200, seed=3), torch.arange(400).view(200, 1, 1, 2)
    order = torch.randperm(200)
    shown = [flip(x[order], Moment(order, order, epoch, 4)) for epoch in range(4)]
    mirrored = [(each[:, 0, 0, 0] > each[:, 0, 0, 1]) for each in shown]
    assert torch.equal(mirrored[0], ~mirrored[1]) and torch.equal(mirrored[0], mirrored[2])
    assert 70 < int(mirrored[0].sum()) < 130
    part = flip(x[:5], Moment(order[:5], torch.arange(5), 0, 4))  # whose they are counts, not where they stand
    assert torch.equal(part[:, 0, 0, 0] > part[:, 0, 0, 1], mirrored[0][order.argsort()[:5]])


def test_a_reflecting_border() -> None:
    x = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).expand(300, -1, -1, -1)
    rows = {tuple(each[0, :, 0].tolist()) for each in shift(x, 1, "reflect") // 4 * 4}
    assert rows == {(4, 0, 4, 8), (0, 4, 8, 12), (4, 8, 12, 8)}


def test_six_views() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 1, 4, 4)
    net = nn.Sequential(nn.Conv2d(1, 3, 4, bias=False), nn.Flatten())
    net[0].weight.data = weight
    x = torch.randn(2, 1, 4, 4)
    padded = torch.cat([x[:, :, 1:2], x, x[:, :, 2:3]], 2)
    padded = torch.cat([padded[..., 1:2], padded, padded[..., 2:3]], 3)
    views = [(x, 0.5), (padded[..., :4, :4], 0.25), (padded[..., 2:, 2:], 0.25)]
    wanted = sum(part * (net(view) + net(view.flip(3))) / 2 for view, part in views)
    assert torch.allclose(FlipShiftAverage(net)(x), wanted, atol=1e-6)
    assert not torch.allclose(FlipAverage(net)(x), wanted)


def test_the_recipe_learns_and_answers_without_its_data(tmp_path: Path) -> None:
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", x=(digits.images * 15).astype(np.uint8), y=digits.target)
    run = train(
        "cifar-speed",
        data=str(tmp_path / "digits.npz"),
        out=tmp_path / "run",
        epochs=3,
        batch_size=100,
        widths=(16, 24, 24),
        size=16,
        flip=False,
    )
    assert run.task.evaluate()["accuracy"] > 0.9
    patches, logits = run.task.model.patches.weight, run.task.logits(x := run.task.data.test.x[:50])
    (tmp_path / "digits.npz").unlink()
    opened = Run.load(tmp_path / "run").open_task()
    assert torch.equal(opened.model.patches.weight, patches)  # as trained, not whitened anew
    assert torch.allclose(opened.logits(x), logits, atol=1e-6)
    steps = 3 * -(-run.record["data"]["spec"]["counts"]["train"] // 100)
    convolutions, biases, head, first = opened.optimizer.param_groups
    assert [len(group["params"]) for group in opened.optimizer.param_groups] == [6, 6, 1, 1]
    # Rates are of a sample, gradients of a mean of 100; a weight shrinks by 2e-6 a sample whatever the rate.
    assert (convolutions["initial_lr"], biases["initial_lr"]) == (0.24, pytest.approx(5.3)) and head[
        "initial_lr"
    ] == pytest.approx(67)
    for group in (biases, head, first):
        assert group["initial_lr"] * group["weight_decay"] == pytest.approx(2e-6 * 100)
    falling, *_, ended = opened.schedule.lr_lambdas
    assert falling(steps / 2) == pytest.approx(0.5) and falling(steps) == 0.0
    assert ended(0.375 * steps / 2) == pytest.approx(0.5) and ended(0.4 * steps) == 0.0
