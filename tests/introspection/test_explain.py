"""Layers and their cost by hand, the graph, activations and gradients by autograd, and the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from chainrule.api import explain
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import UserError
from chainrule.core.task import HasClasses, HasImages, HasNumParameters
from chainrule.introspection.activations import numbers_of, trace
from chainrule.introspection.layer_graph import draw, trace_graph
from chainrule.introspection.layers import card_text, layers, parameter_rows
from chainrule.models import get_card
from chainrule.nn.fitted import Fitted
from chainrule.run.run import Run
from chainrule.systems.image_classification.lenet import LeNet5, LeNetCaffe
from tests.trained import lenet_run


def cost(module: nn.Module, *inputs: object) -> int:
    return sum(layer.multiply_adds for layer in layers(module, inputs))


def test_multiply_adds_by_hand() -> None:
    assert cost(nn.Linear(7, 5), torch.zeros(1, 7)) == 7 * 5
    assert cost(nn.Linear(7, 5), torch.zeros(1, 3, 7)) == 3 * 7 * 5
    # 9 x 9, kernel 3, stride 2, padding 1 gives 5 x 5; each of 8 maps sees 4 / 2 maps.
    assert cost(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), torch.zeros(1, 4, 9, 9)) == 8 * 5 * 5 * 2 * 9
    lenet = 20 * 24 * 24 * 25 + 50 * 8 * 8 * 20 * 25 + 800 * 500 + 500 * 10
    assert cost(LeNetCaffe(), torch.zeros(1, 1, 28, 28)) == lenet == 2_293_000


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_cost_is_that_of_the_cell_unrolled(kind: type[nn.RNNBase], gates: int) -> None:
    x = torch.zeros(1, 11, 3)
    one = gates * 5 * (3 + 5)
    two = gates * 5 * (10 + 5)
    assert cost(kind(3, 5, batch_first=True), x) == 11 * one
    assert cost(kind(3, 5, num_layers=2, bidirectional=True, batch_first=True), x) == 11 * 2 * (one + two)
    cell = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[kind](3, 5)  # type: ignore[index]
    assert cost(cell, x[:, 0]) == one  # PyTorch's own counter, on the cell's matrix products
    packed = nn.utils.rnn.pack_sequence([torch.zeros(4, 3), torch.zeros(2, 3)])
    assert cost(kind(3, 5), packed) == 6 * one


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_lstm_with_projection_and_in_a_container() -> None:
    lstm = nn.LSTM(3, 8, proj_size=2, batch_first=True)
    assert cost(lstm, torch.zeros(1, 7, 3)) == 7 * (4 * 8 * (3 + 2) + 8 * 2)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self.out(self.lstm(input=x)[0]), {}

    rows = layers(Tagger(), (torch.zeros(1, 7, 3),))
    assert [(r.name, r.shape, r.multiply_adds) for r in rows] == [
        ("lstm", (7, 5), 7 * 4 * 5 * 8),
        ("out", (7, 2), 7 * 10),
    ]


def test_attention_is_counted() -> None:
    width, length = 16, 7
    inner = 4 * length * width * width + 2 * length * length * width  # projections, then scores and their sum
    rows = layers(nn.TransformerEncoderLayer(width, 2, 32, batch_first=True), (torch.zeros(1, length, width),))
    assert {r.name: r.multiply_adds for r in rows}["self_attn"] == inner
    assert sum(r.multiply_adds for r in rows) == inner + 2 * length * width * 32


class Shared(nn.Module):
    """A layer called twice, weights tied to it, a parameter of its own, a product of its own, a layer never called."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.tied, self.idle = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(2, 2)
        self.tied.weight = self.twice.weight
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.tied(self.twice(self.twice(x)).relu_())
        return {"y": x * self.scale + x @ self.idle.weight.new_ones(4, 4)}


def test_shared_and_containers_add_up() -> None:
    module = Shared().train()
    rows = layers(module, (torch.zeros(1, 4),))
    assert sum(r.parameters for r in rows) == sum(p.numel() for p in module.parameters()) == 20 + 4 + 6
    assert [(r.name, r.parameters, r.shared, r.multiply_adds, r.called) for r in rows] == [
        ("twice", 20, 0, 16, True),
        ("twice", 0, 20, 16, True),
        ("tied", 0, 16, 16, True),
        ("", 4, 0, 16, True),
        ("idle", 6, 0, 0, False),
    ]
    assert module.training and module.idle.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_known_totals() -> None:
    assert "431,080 trainable parameters, 2,293,000 multiply-adds" in card_text(
        get_recipe("lenet-caffe"), get_card("lenet-caffe")
    )
    text = card_text(get_recipe("lenet5"), get_card("lenet5"))
    # C3: 60 kernels in the paper, and computed here as a full convolution of 16 x 6 kernels.
    assert "60,000 trainable parameters" in text and f"{16 * 6 * 25 * 100:,}" in text and "deviation:" in text


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.b(torch.tanh(self.a(x))) + x)


def test_graph_follows_the_skip() -> None:
    nodes = trace_graph(Residual(), (torch.zeros(1, 4),))
    edges = {(nodes[s].name, node.name): on for node in nodes for s, on in node.sources.items()}
    assert edges == {
        ("input", "a"): (),
        ("a", "b"): ("tanh",),
        ("b", "add"): (),
        ("input", "add"): (),
        ("add", "act"): (),
    }
    svg = draw(Residual(), (torch.zeros(1, 4),))
    assert svg and svg.count('class="edge"') == 5 and "tanh" in svg
    assert draw(nn.Sequential(*[nn.ReLU() for _ in range(200)]), (torch.zeros(1, 4),)) is None


def test_statistics_against_numpy() -> None:
    x = torch.randn(50, generator=torch.Generator().manual_seed(0)).relu()
    found, plain = numbers_of(x), x.double().numpy()
    expected = (plain.mean(), plain.std(), (plain == 0).mean(), np.linalg.norm(plain))
    assert (found.mean, found.std, found.zeros, found.norm) == pytest.approx(expected)
    assert found.histogram == tuple(np.histogram(plain, 24)[0])
    assert numbers_of(torch.tensor([float("nan")])).count == 1 and numbers_of(torch.zeros(3)).std == 0
    assert numbers_of(torch.zeros(0)).count == 0 and numbers_of(torch.tensor([True, False])).mean == 0.5


def test_saliency_and_gradients_against_autograd() -> None:
    torch.manual_seed(0)
    model, x = LeNetCaffe(), torch.randn(1, 1, 28, 28)
    model.conv1.weight.grad = torch.ones_like(model.conv1.weight)
    found = trace(model, (x,))
    source = x.clone().requires_grad_()
    logits = model(source)
    top = int(logits.argmax())
    wanted = torch.autograd.grad(logits[0, top], [source, *model.ip1.parameters()])
    assert found.top == top and found.saliency is not None
    torch.testing.assert_close(found.saliency, wanted[0][0, 0].abs())
    ip1 = next(a for a in found.activations if a.name == "ip1")
    assert ip1.weight_gradient == pytest.approx(float(torch.cat([g.flatten() for g in wanted[1:]]).norm()), rel=1e-5)
    conv1 = found.activations[0]
    assert conv1.maps is not None
    torch.testing.assert_close(conv1.maps, model.conv1(x)[0, :16].detach())
    assert conv1.numbers.mean == pytest.approx(float(model.conv1(x).detach().mean()), rel=1e-4)
    assert bool((model.conv1.weight.grad == 1).all()) and model.ip1.weight.grad is None, "training's gradients stay"


def test_trace_keeps_values_that_are_overwritten() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    x = torch.tensor([[1.0, -2.0, 3.0]])
    found = trace(model, (x,))
    assert found.activations[0].numbers.mean == pytest.approx(float(model[0](x).detach().mean()), abs=1e-6)
    assert found.activations[1].numbers.low >= 0
    lookup = trace(nn.Embedding(5, 3), (torch.tensor([[1, 2]]),))
    assert lookup.top is None and lookup.saliency is None


class Mixture(nn.Module):
    """Answers by other methods than forward."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.arange(6.0).view(2, 3))


def test_module_that_is_no_call(tmp_path: Path) -> None:
    from chainrule.introspection.explain import _network

    net = _network("mixture", Mixture(), None, weights=True)
    assert parameter_rows(Mixture()) == [] and not net["runs"]
    assert net["tiles"]["numbers in buffers"] == "6" and net["buffers"][0][2].mean == 2.5


def test_explain_run_with_an_image(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(tmp_path / "x.png")
    page = explain(folder, [str(tmp_path / "x.png")], device="cpu")
    text = page.read_text("utf-8")
    assert page == folder / "explain.html" and "http://" not in text.replace("http://www.w3.org", "")
    for words in (
        "431,080",
        "2,293,000",
        "conv1.weight",
        "20 × 24 × 24",
        "First 16 of 20".lower(),
        "probability",
        "move the logit",
    ):
        assert words in text or words in text.lower(), words
    model = Run.load(folder, "cpu").open_task().modules()["model"]
    assert f"{float(model.ip1.weight.detach().norm()):.3g}" in text
    # Reasons, filters, effective fields and inversions, exciting images with the deconvnet's and occluders', maps.
    assert text.count("data:image/png") == 9 + 1 + 2 * 2 + 2 * 4 * 3 + 2 * 16


def test_a_classifier_offers_what_attribution_asks_for(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "run")
    task = Run.load(tmp_path / "run", "cpu").open_task()
    assert isinstance(task, HasClasses) and isinstance(task, HasImages)
    assert len(task.classes) == 10 and task.test_images().dtype is torch.uint8
    assert isinstance(Fitted(get_card("logistic-regression").build()), HasNumParameters)


def test_explain_recipe_and_run_without_checkpoint(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = explain("lenet5").read_text("utf-8")
    assert (tmp_path / "explain-lenet5.html").is_file() and "60,000" in text and "Deviation 2" in text
    assert sum(p.numel() for p in LeNet5().parameters()) == 60_000
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    shutil.rmtree(folder / "checkpoint")
    assert "before training" in explain(folder, device="cpu", out=tmp_path / "e.html").read_text("utf-8")


def test_mistakes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    with pytest.raises(UserError, match="one input at a time"):
        explain(folder, ["a", "b"])
    with pytest.raises(UserError, match="no such file"):
        explain(folder, ["missing.png"], device="cpu")
    with pytest.raises(UserError, match="learnt nothing yet"):
        explain("lenet5", ["x.png"])
    with pytest.raises(UserError, match="did you mean lenet5"):
        explain("lenet6")
    with pytest.raises(UserError, match="no such run folder"):
        explain("runs/none-1")
    with pytest.raises(UserError, match="no run folder"):
        explain(tmp_path)


def test_explain_shows_a_real_batch_with_gradients_and_a_diagnosis(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    text = explain(folder, device="cpu").read_text("utf-8")
    assert "One real batch" in text and "No problem was found" in text and 'class="steps"' in text
    task = Run.load(folder, "cpu").open_task()
    training_batch = task.training_batch()  # type: ignore[attr-defined]
    loss = training_batch.loss(training_batch.module(*training_batch.inputs), training_batch.target)
    (gradient,) = torch.autograd.grad(loss, training_batch.module.conv1.weight)
    assert (
        f"model.conv1.weight: gradient of norm {float(gradient.norm()):.4g}" in text
        or f"{float(gradient.norm()):.4g}" in text
    )
    assert f"{loss:.5g}" in text


def test_explain_without_the_data_says_so(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainrule.tasks.images.classification import ImageClassifier

    def gone(self: ImageClassifier) -> None:
        raise UserError("there is no such folder", where="pictures")

    monkeypatch.setattr(ImageClassifier, "training_batch", gone)
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    text = explain(folder, device="cpu").read_text("utf-8")
    assert "The batch is left out: there is no such folder" in text and "Layers" in text


def test_the_graph_of_one_input_begins_at_the_top_logit(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r")
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(tmp_path / "x.png")
    text = explain(folder, [str(tmp_path / "x.png")], device="cpu").read_text("utf-8")
    assert "Computational graph of this input" in text and "L is the largest logit" in text
    assert text.count('class="stepper"') == 2


def test_a_recipe_without_a_card_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from chainrule.introspection.explain import explain_recipe

    page = explain_recipe(get_recipe("lenet5"), None, tmp_path / "e.html")
    assert "no network of layers" in page.read_text("utf-8")


def test_a_networks_name_is_explained(tmp_path: Path) -> None:
    page = explain("q-network", out=tmp_path)
    text = page.read_text("utf-8")
    assert page.name == "explain-q-network.html" and "4,610" in text and "Weights are those of a fresh start" in text
    with pytest.raises(UserError, match=r"a network has learnt nothing yet[\s\S]*image-classifier network=resnet32"):
        explain("resnet32", ["image.png"])
    with pytest.raises(UserError, match=r"is no network of layers[\s\S]*chainrule show gaussian-naive-bayes"):
        explain("gaussian-naive-bayes", out=tmp_path)
