"""The ways back to the image's size: what each does to a map, and what the study concludes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import chainrule
from chainrule.core.errors import UserError
from chainrule.systems.segmentation.upsampling_study import WAYS, EncoderDecoder, conclude


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "step by step"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_answers_at_the_size_of_the_image(way: str, at_once: bool) -> None:
    net = EncoderDecoder(way, at_once, True, 3, 2, 4)  # type: ignore[arg-type]
    assert net(torch.randn(2, 2, 21, 35)).shape == (2, 3, 21, 35)
    learnt_upward = sum(p.numel() for p in net.up.parameters())
    assert (learnt_upward > 0) == (not at_once or way == "deconvolution")


def test_at_once_interpolation_is_torchs_and_unpooling_is_sparse() -> None:
    x = torch.randn(1, 2, 32, 40)
    for way, mode in (("nearest", "nearest"), ("bilinear", "bilinear")):
        net = EncoderDecoder(way, True, False, 3, 2, 4).eval()  # type: ignore[arg-type]
        seen: list[torch.Tensor] = []
        net.score.register_forward_hook(lambda module, inputs, out, seen=seen: seen.append(out))
        torch.testing.assert_close(net(x), F.interpolate(seen[0], scale_factor=8, mode=mode))
    sparse = EncoderDecoder("unpooling", True, False, 3, 2, 4).eval()(x)
    assert int((sparse != 0).sum()) == 3 * 4 * 5  # a number for each place of the coarse map


def test_what_is_concluded() -> None:
    rows = [
        {"way": "bilinear", "at_once": once, "batch_norm": normed, "miou": miou, "boundary_f1": miou / 2}
        for once, normed, miou in ((True, False, 0.2), (True, True, 0.3), (False, False, 0.5), (False, True, 0.6))
    ]
    found = conclude(rows)
    assert found["bilinear_at_once_miou"] == 0.3 and found["bilinear_step_by_step_boundary_f1"] == 0.3
    assert found["bilinear_gain_of_batch_norm"] == pytest.approx(0.1)


def test_an_unknown_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unpool"):
        chainrule.train("upsampling", ways=("cubic",), out=tmp_path / "r", device="cpu")
    assert not (tmp_path / "r").exists()
