"""What `explain` shows of a segmenter: entropy by hand, score maps that add up, unpooled maps, and nothing written beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import chainrule
from chainrule.models import build
from chainrule.systems.segmentation.explaining import entropy, illustrations
from chainrule.systems.segmentation.networks.fcn import FCN

COLOURS = [[0, 0, 0], [200, 0, 0], [0, 200, 0]]


def test_entropy_is_scipys() -> None:
    from scipy.stats import entropy as scipys

    logits = torch.randn(1, 3, 4, 5) * 4
    expected = scipys(logits[0].double().softmax(0).numpy(), axis=0) / np.log(3)
    np.testing.assert_allclose(entropy(logits).numpy(), expected, rtol=1e-9)


def test_the_scores_of_finer_maps_are_added_to_the_enlarged_coarser_ones() -> None:
    net = FCN(8, 3, width=1 / 32, border="same").eval()
    for name in ("classifier.6", "score_pool4", "score_pool3"):
        torch.nn.init.normal_(net.get_submodule(name).weight)
    maps = net.score_maps(torch.randn(1, 3, 64, 96))
    assert [(name, tuple(x.shape[-2:])) for name, x in maps.items()] == [
        ("stride 32", (2, 3)), ("pool4", (4, 6)), ("stride 16", (4, 6)), ("pool3", (8, 12)), ("stride 8", (8, 12)),
    ]  # fmt: skip
    for coarse, fine, both in (("stride 32", "pool4", "stride 16"), ("stride 16", "pool3", "stride 8")):
        enlarged = F.interpolate(maps[coarse], scale_factor=2, mode="bilinear")
        torch.testing.assert_close(maps[both], enlarged + maps[fine])


def test_figures_by_network() -> None:
    image = np.zeros((32, 40, 3), np.uint8)
    titles = {}
    for name, config in (("fcn16s", {"border": "same"}), ("deconvnet", {"size": 32}), ("unet", {})):
        net = build(name, num_classes=3, width=1 / 32, **config).eval()
        figures = illustrations(net, torch.randn(1, 3, 32, 40), image, COLOURS)
        assert all(figure.png for figure in figures)
        titles[name] = [figure.title for figure in figures]
    assert titles["unet"] == ["Answer and entropy", "Receptive field of one pixel"]
    assert titles["fcn16s"][1] == "Score maps before and after each fusion"
    assert titles["deconvnet"][1] == "Unpooling with switches"


def test_explaining_writes_the_page_alone(tmp_path: Path, no_report: None) -> None:
    from chainrule.data.kinds.masks import example

    data = Path(example(tmp_path / "d"))
    run = chainrule.train("unet", data=data, epochs=1, width=1 / 16, batch_size=4, out=tmp_path / "r", device="cpu")
    page = chainrule.explain(run, data / "images" / "0.png")
    text = Path(page).read_text("utf-8")
    assert "What it sees in this input" in text and "Receptive field of one pixel" in text
    assert not list(Path().glob("*.png"))
