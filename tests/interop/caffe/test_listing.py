"""`show` and `explain` of a net description: the table of layers, sizes that are taken for granted, errors in words."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from chainrule import api, cli, models
from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.listing import layer_rows, read_to_look_at
from tests.interop.caffe import descriptions

LENET = resources.files("chainrule.systems.image_classification.caffe") / "assets" / "lenet.prototxt"
DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "x" batch_size: 4 } %s }\n'
CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }\n'


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "我的 net.prototxt"
    file.write_text(text, "utf-8")
    return file


def test_lenet_by_hand() -> None:
    """Sizes by (28 - 5) + 1 and halves; parameters by maps x kernel + biases."""
    net, notes = read_to_look_at(str(LENET))
    rows = {row[0]: row[1:] for row in layer_rows(net)}
    assert not notes
    assert rows["conv1"] == ("Convolution", "data", "conv1 (20, 24, 24)", f"{20 * (1 * 25 + 1):,}")
    assert rows["pool1"] == ("Pooling", "conv1", "pool1 (20, 12, 12)", "")
    assert rows["conv2"] == ("Convolution", "pool1", "conv2 (50, 8, 8)", f"{50 * (20 * 25 + 1):,}")
    assert rows["ip1"] == ("InnerProduct", "pool2", "ip1 (500)", f"{500 * (50 * 16 + 1):,}")
    assert rows["relu1"] == ("ReLU", "ip1", "ip1 (500)", "") and rows["ip2"][3] == "5,010"
    assert rows["loss"] == ("SoftmaxWithLoss", "ip2, label", "loss ()", "") and rows[""][3] == "431,080"


@pytest.mark.parametrize(
    ("text", "words", "parameters"),
    [
        (descriptions.alexnet("caffe"), [], 60_965_224),
        (descriptions.vgg16(), [], 138_357_544),
        (descriptions.googlenet(), ["phase=TRAIN"], 13_378_280),
        (descriptions.resnet50(pool=""), [], 25_557_096),
    ],
    ids=["alexnet", "vgg16", "googlenet with heads", "resnet50-caffe"],
)
def test_published_counts(text: str, words: list[str], parameters: int, tmp_path: Path) -> None:
    """The issue's and the authors' numbers; without memory for the weights."""
    net, _ = read_to_look_at(written(tmp_path, text), words, empty=True)
    *rows, total = layer_rows(net)
    assert total == ("", "", "", "", f"{parameters:,}")
    assert sum(int(row[4].replace(",", "")) for row in rows[1:] if row[4]) == parameters
    assert all(p.is_meta for p in net.parameters())


def test_what_two_layers_share_counts_once(tmp_path: Path) -> None:
    layer = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 5 }} }}\n'
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 5 } } }\n'
    net, _ = read_to_look_at(written(tmp_path, text + layer.format("a", "x") + layer.format("b", "a")))
    assert [row[4] for row in layer_rows(net)] == ["parameters", "", "30", "", "30"]


def test_sizes_that_the_data_decide(tmp_path: Path) -> None:
    file = written(tmp_path, DATA % "transform_param { crop_size: 9 }" + CONV)
    net, notes = read_to_look_at(file)
    assert net.inputs["data"] == (1, 3, 9, 9) and notes == [
        "the channels of data are not said; taken are 3 (otherwise data=1,9,9)"
    ]
    net, notes = read_to_look_at(file, ["data=1x7x8"])
    assert net.inputs["data"] == (1, 1, 7, 8) and not notes and layer_rows(net)[-2][3] == "c (2, 5, 6)"
    with pytest.raises(
        UserError,
        match=r"leaves the size of the input 'data' to the data(.|\n)*net.prototxt, layer 'data'(.|\n)*data=3,224,224",
    ):
        read_to_look_at(written(tmp_path, DATA % "" + CONV))


@pytest.mark.parametrize(
    "word", ["hello", "data=", "data=a,b", "=1,2", "data=0,2,2", "phase=LATER", "data=-1,2,2", "data=1.5,2,2"]
)
def test_words_that_say_nothing(word: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not understood(.|\n)*NAME=CHANNELS,HEIGHT,WIDTH"):
        read_to_look_at(written(tmp_path, DATA % "" + CONV), [word])


def test_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = written(tmp_path, 'name: "小 net"\n' + DATA % "transform_param { crop_size: 9 }" + CONV)
    cli.main(["show", str(file), "phase=train"])
    told = capsys.readouterr().out
    assert told.startswith("小 net, phase TRAIN\nthe channels of data are not said") and told.rstrip().endswith("56")
    assert "c      Convolution  data   c (2, 7, 7)" in told


STAGES = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } include { stage: "deploy" } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { stage: "deploy" stage: "small" } }
layer { name: "late" type: "ReLU" bottom: "ip" top: "late" include { min_level: 2 } }
"""


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (["stage=deploy"], ["ip"]),
        (["stage=deploy,small"], ["ip", "prob"]),
        (["stage=deploy", "stage=small", "level=2"], ["ip", "prob", "late"]),
    ],
)
def test_layers_of_stages_and_levels(words: list[str], layers: list[str], tmp_path: Path) -> None:
    net, _ = read_to_look_at(written(tmp_path, STAGES), words)
    assert [step.name for step in net.steps] == layers


SOLVER = 'base_lr: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 3 max_iter: 100 display: 20 solver_mode: CPU stepvalue: 1 stepvalue: 2 '


@pytest.mark.parametrize(
    ("more", "net"),
    [
        ('net: "net.prototxt" train_state { stage: "deploy" }', STAGES),
        (f'net_param {{ {STAGES} state {{ stage: "deploy" }} }}', ""),
        (f"train_net_param {{ {STAGES} }} train_state {{ stage: 'deploy' }}", ""),
        ('train_net: "net.prototxt" test_net: "other.prototxt" train_state { stage: "deploy" }', STAGES),
    ],
)
def test_show_of_a_solver(more: str, net: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = written(tmp_path, SOLVER + more)
    if net:
        (tmp_path / "net.prototxt").write_text(net)
    cli.main(["show", str(file)])
    told = capsys.readouterr().out
    assert f"{file} is a solver" in told and "phase TRAIN" in told and told.rstrip().endswith("650")
    rows = [line.split() for line in told.splitlines()]
    assert ["base_lr", "0.01"] in rows and ["stepvalue", "1,", "2"] in rows and ["solver_mode", "CPU"] in rows
    assert "display, solver_mode: not read; results do not depend on it" in told
    assert ("what is tested is the network that is trained" in told) == ("test_net" in more)


def test_show_of_a_solver_whose_network_is_not_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cli.main(["show", str(written(tmp_path, SOLVER + 'net: "gone.prototxt"'))])
    told = capsys.readouterr()
    assert "is a solver" in told.out and "gone.prototxt" in told.out
    assert "cannot be shown: there is no such file" in told.err


BAD = [
    (["show", "gone.prototxt"], ["there is no such file", "gone.prototxt"]),
    (["show", "unknown.prototxt"], ["layer 'q' (Quux)", "unknown.prototxt, line 2", "Convolution"]),
    (["show", "solver.prototxt"], ["max_iter and iter_size must be 1 or more", "solver.prototxt"]),
    (
        ["show", "stages.prototxt"],
        ["blob 'data' in phase TEST", "layer 'data', which is there in stage deploy", "stage=deploy"],
    ),
    (
        ["show", "train.prototxt"],
        ["no input in the phase TEST", "layer 'd' is there in phase TRAIN and stage a", "stage=a phase=TRAIN"],
    ),
    (["train", "caffe-net", "net=solver.prototxt"], ["this is a solver", "line 1, column 1", "solver=FILE"]),
    (["train", "caffe-net", "solver=small.prototxt"], ["this is a net description", "net=FILE"]),
    (["show", "binary.prototxt"], ["a binary file stands in the place of a text"]),
    (["show", "empty.prototxt"], ["no layer"]),
    (["show", "small.prototxt", "data=3,2,2"], ["layer 'c' (Convolution)", "line 2"]),
    (
        ["show", "small.prototxt", "data=3,9,9", "other=3,9"],
        ["an input that is not there: 'other'", "one of data, label"],
    ),
    (["show", "small.prototxt", "--out", "x.html"], ["--out is for topics", "chainrule explain small.prototxt"]),
    (["show", "lenet5", "data=1,2,3"], ["only a net description takes words"]),
    (["explain", "gone.prototxt"], ["there is no such file"]),
    (["explain", "small.prototxt"], ["leaves the size of the input 'data' to the data"]),
]


@pytest.mark.parametrize(
    ("words", "texts"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_errors_in_words(words: list[str], texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("unknown.prototxt").write_text(
        DATA % "transform_param { crop_size: 9 }" + 'layer { name: "q" type: "Quux" bottom: "data" top: "q" }'
    )
    Path("solver.prototxt").write_text("base_lr: 0.1\n")
    Path("binary.prototxt").write_bytes(b"\x0a\x03net\x00\x01")
    Path("empty.prototxt").write_text('name: "nothing"\n')
    Path("small.prototxt").write_text(DATA % "" + CONV)
    Path("stages.prototxt").write_text(STAGES)
    Path("train.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" include { phase: TRAIN stage: "a" } }'
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and all(text in told for text in texts), told
    assert "Traceback" not in told and not list(Path().glob("*.html"))


def test_explain_writes_the_page(tmp_path: Path) -> None:
    file = written(tmp_path, descriptions.alexnet("caffenet", size=67, width=1 / 16, classes=7))
    page = api.explain(file, out=tmp_path / "page.html")
    text = page.read_text("utf-8")
    model = models.build("caffenet", width=1 / 16, size=67, num_classes=7)
    assert f"{sum(p.numel() for p in model.parameters()):,}" in text
    assert all(f"layers.{name}" in text for name in ("conv1", "pool1", "norm1", "fc6", "fc8"))
    noted = api.explain(written(tmp_path, DATA % "transform_param { crop_size: 9 }" + CONV), out=tmp_path)
    assert noted.name == "explain-我的 net.html" and "the channels of data are not said" in noted.read_text("utf-8")
