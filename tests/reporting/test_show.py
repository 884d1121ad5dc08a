"""`chainrule show`: the card of a recipe with what it says of its settings, the card of a network, the table of networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainrule.cli import main
from chainrule.models import all_cards, image_networks
from tests.showing import show


def test_a_recipe_tells_what_its_settings_do(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = show(capsys, "image-classifier")
    assert status == 0 and out.index("Settings:") < out.index("chainrule show networks") < out.index("log_every=")
    assert "`balance=loss` weighs rare classes up" in out and "What training changes in an image" in out


def test_a_network_has_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = show(capsys, "resnet18")
    assert status == 0 and "He, Zhang, Ren, Sun" in out and "11,689,512 trainable parameters" in out
    assert "chainrule train image-classifier network=resnet18" in out and "--weights torchvision (resnet18-" in out
    status, out, _ = show(capsys, "face-net-small")
    assert status == 0 and "image-classifier" not in out


def test_the_table_of_networks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = show(capsys, "networks")
    rows = [line.split() for line in out.splitlines()]
    names = [row[0] for row in rows[1:]]
    assert status == 0 and names == list(image_networks()) and names.index("resnet18") < names.index("resnet101")
    assert not {"mlp", "lasso", "lenet-backprop", "facenet", "dcgan-discriminator"} & set(names)
    assert {"alexnet", "googlenet", "vgg16-bn", "lenet5", "resnet20", "cuda-convnet-18"} <= set(names)
    assert next(row for row in rows if row[0] == "vgg16")[1:7] == ["3", "x", "224", "x", "224", "138,357,544"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnet500"], ["no recipe, network or topic 'resnet500'", "resnet50", "chainrule show networks"]),
        (["networks", "--out", "n.html"], ["no image in common", "--out n.html"]),
        (["resnet18", "--out", "n.html"], ["--out is for topics", "resnet18"]),
    ],
)
def test_what_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]) -> None:
    status, out, err = show(capsys, *words)
    assert status == 2 and out == "" and all(word in err for word in said), err


def test_a_wrong_network_is_told_those_for_images(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "image-classifier", "network=resnet81"])
    _, err = capsys.readouterr()
    assert (
        end.value.code == 2
        and "did you mean resnet18" in err
        and "resnet152" in err
        and "chainrule show networks" in err
    )
    assert "lasso" not in err and "lasso" in all_cards()


LOADED = """
import atexit, sys
from chainrule.cli import main
atexit.register(lambda: print(*(name for name in sys.modules if name.partition(".")[0] in ("chainrule", "sklearn", "torch"))))
main(["show", "resnet50"])
"""


def test_one_network_is_loaded_and_not_all() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = run.stdout.splitlines()[-1].split()
    assert "torch" in loaded and "sklearn" not in loaded
    assert "torch._dynamo" not in loaded  # the compiler, a second of CPU
    assert "chainrule.systems.image_classification.resnet" in loaded
    assert not {"chainrule.systems.image_classification.vgg", "chainrule.systems.image_classification.lenet"} & set(
        loaded
    )
