"""Net descriptions as networks: how layers are joined, shared, left out; and what is said of wrong ones."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import layer_lines
from chainrule.interop.caffe.description.graph import CaffeScores
from chainrule.interop.caffe.description.schema import ENUMS, MESSAGES, SETTINGS, message
from chainrule.interop.caffe.description.upgrade import OLD_TYPES
from chainrule.interop.caffe.layers.layers import TYPES
from chainrule.interop.caffe.net import parse_net, parse_sources, read_net

BRANCHED = """
name: "branched"
layer { name: "data" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "before" type: "Power" bottom: "conv" top: "doubled" power_param { scale: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "both" type: "Concat" bottom: "conv" bottom: "doubled" top: "both" }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "main_loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "main_loss" }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" top: "aux_loss" loss_weight: 0.3 }
layer { name: "penalty" type: "Reduction" bottom: "doubled" top: "penalty" loss_weight: 0.01 reduction_param { operation: SUMSQ } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""


def test_a_branched_net_is_what_it_says() -> None:
    """An in-place layer changes the blob for those after it, and not for those before."""
    torch.manual_seed(0)
    net = parse_net(BRANCHED, "TRAIN").double()
    x, y = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4])
    conv, ip, aux = net.layer("conv"), net.layer("ip"), net.layer("aux")
    maps = F.conv2d(x, conv.weight, conv.bias)
    both = torch.cat([maps.relu(), 2 * maps], 1).flatten(1)
    logits = both @ ip.weight.T + ip.bias
    side = maps.relu().flatten(1) @ aux.weight.T + aux.bias
    expected = {
        "main_loss": F.cross_entropy(logits, y),
        "aux_loss": F.cross_entropy(side, y),
        "penalty": (2 * maps).square().sum(),
    }
    found = net(x, label=y)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    total = expected["main_loss"] + 0.3 * expected["aux_loss"] + 0.01 * expected["penalty"]
    torch.testing.assert_close(net.objective(x, y), total)
    blobs = net.blobs(data=x, label=y)
    torch.testing.assert_close(blobs["conv"], maps.relu())
    torch.testing.assert_close(blobs["doubled"], 2 * maps)
    torch.testing.assert_close(CaffeScores(net)(x), logits)
    gradient = torch.autograd.grad(net.objective(x, y), conv.weight)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(total, conv.weight)[0])


def test_only_the_first_top_of_a_loss_counts() -> None:
    text = BRANCHED.replace('top: "main_loss"', 'top: "main_loss" top: "probs"')
    net, x, y = parse_net(text, "TRAIN"), torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    made = net(x, y)
    torch.testing.assert_close(net.objective(x, y), made["main_loss"] + 0.3 * made["aux_loss"] + 0.01 * made["penalty"])
    assert made["probs"].shape == (2, 5)


def test_phases_levels_and_stages() -> None:
    assert parse_net(BRANCHED, "TRAIN").training and not parse_net(BRANCHED).training
    assert "accuracy" in parse_net(BRANCHED).outputs and "accuracy" not in parse_net(BRANCHED, "TRAIN").outputs
    text = """input: "x" input_dim: [1, 1, 1, 1]
        layer { name: "level" type: "Power" bottom: "x" top: "level" include { min_level: 1 max_level: 2 } }
        layer { name: "stage" type: "Power" bottom: "x" top: "stage" include { stage: "a" not_stage: "b" } include { stage: "c" } }
        layer { name: "not" type: "Power" bottom: "x" top: "not" exclude { phase: TEST stage: "a" } }"""

    def there(level: int, *stages: str, phase: str = "TEST") -> set[str]:
        return set(parse_net(text, phase, level=level, stages=stages).outputs)

    assert there(0) == {"not"} and there(1) == there(2) == {"not", "level"} and there(3) == {"not"}
    assert there(0, "a") == {"stage"} and there(0, "a", phase="TRAIN") == {"stage", "not"}
    assert there(0, "a", "b") == set() and there(0, "b", "c") == {"stage", "not"}
    with pytest.raises(UserError, match="either include or exclude"):
        parse_net('layer { name: "x" include { phase: TEST } exclude { phase: TRAIN } }')
    with pytest.raises(UserError, match="no phase 'TESTING'"):
        parse_net(text, "TESTING")


def test_the_old_form_is_the_new_one() -> None:
    """`layers` with types in capitals, `input_dim`, `blobs_lr`: the same network as `layer`, `input_shape`, `param`."""
    old = """name: "n" input: "data" input_dim: 1 input_dim: 1 input_dim: 6 input_dim: 6
        layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
                 convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
        layers { name: "r" type: RELU bottom: "c" top: "c" }
        layers { name: "p" type: SOFTMAX bottom: "c" top: "p" }"""
    new = """name: "n" input: "data" input_shape { dim: 1 dim: 1 dim: 6 dim: 6 }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
                convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
        layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
        layer { name: "p" type: "Softmax" bottom: "c" top: "p" }"""
    nets = []
    for text in (old, new):
        torch.manual_seed(0)
        nets.append(parse_net(text))
    x = torch.randn(3, 1, 6, 6)
    assert torch.equal(nets[0](x)["p"], nets[1](x)["p"])
    assert nets[0].steps == nets[1].steps and nets[0].multipliers == nets[1].multipliers
    assert [(m.lr, m.decay) for m in nets[0].multipliers.values()] == [(1.0, 1.0), (2.0, 0.0)]


def test_losses_without_a_top_are_blobs_all_the_same() -> None:
    """Caffe makes the top that a loss does not name (AutoTopBlobs); here it has the layer's name, where that is free."""
    new = 'layer { name: "%s" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }'
    old = BRANCHED.split('layer { name: "main_loss"')[0]
    net = parse_net(old + new % "one" + new % "ip", "TRAIN")
    x, y = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    made = net(x, y)
    assert {"one", "ip (automatic)"} <= made.keys() and torch.equal(made["one"], made["ip (automatic)"])
    torch.testing.assert_close(net.objective(x, y), 2 * made["one"])
    before_2014 = """input: "x" input_dim: [2, 3, 1, 1] input: "y" input_dim: [2, 1, 1, 1]
        layers { name: "loss" type: SOFTMAX_LOSS bottom: "x" bottom: "y" }"""
    assert list(parse_net(before_2014, "TRAIN").outputs) == ["loss"]


def test_the_state_of_the_description_itself_counts() -> None:
    text = """state { stage: "a" level: 1 } input: "x" input_dim: [1, 1, 1, 1]
        layer { name: "r" type: "ReLU" bottom: "x" top: "r" include { stage: "a" stage: "b" min_level: 1 } }"""
    assert "r" in parse_net(text, stages=["b"]).outputs and "r" not in parse_net(text).outputs


def test_what_nobody_reads_is_told() -> None:
    """Results do not depend on an engine; Caffe does not read xavier's std or settings of another type either."""
    text = """input: "x" input_dim: [1, 2, 4, 4]
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" relu_param { negative_slope: 1 }
                convolution_param { num_output: 2 kernel_size: 3 engine: CAFFE weight_filler { type: "xavier" std: 0.1 } } }
        layer { name: "n" type: "LRN" bottom: "c" top: "n" lrn_param { norm_region: WITHIN_CHANNEL k: 2 engine: CAFFE } }"""
    assert parse_net(text).notes == (
        "convolution_param.weight_filler.std: not read; Caffe does not read it here either (layer c)",
        "engine: not read; results do not depend on it (layers c, n)",
        "relu_param: not read; Caffe does not read it here either (layer c)",
        "lrn_param.k: not read; Caffe does not read it here either (layer n)",
    )
    # A reader that forgot a field: no list has to say so.
    forgetful = dataclasses.replace(TYPES["Power"], build=lambda layer, shapes: torch.nn.ReLU())
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match=r"line 2: power_param is not read here"):
        patch.setitem(TYPES, "Power", forgetful)
        patch.setattr("chainrule.interop.caffe.assembly.SETTINGS", {})
        parse_net(
            'input: "x" input_dim: [1, 1, 1, 1]\nlayer { type: "Power" bottom: "x" top: "y" power_param { power: 2 } }'
        )
    assert set(message("Net").DESCRIPTOR.fields_by_name) == {
        *("name", "input", "input_shape", "input_dim", "layer", "layers"),
        *("force_backward", "state", "debug_info"),
    }


def test_old_types_have_their_new_names() -> None:
    assert len(OLD_TYPES) == 40
    for number, name in {
        4: "Convolution",
        8: "Flatten",
        9: "HDF5Data",
        14: "InnerProduct",
        15: "LRN",
        18: "ReLU",
        21: "SoftmaxWithLoss",
        23: "TanH",
        27: "SigmoidCrossEntropyLoss",
        30: "ArgMax",
        35: "AbsVal",
        2: "BNLL",
    }.items():
        assert OLD_TYPES[number] == name


def test_the_table_of_messages_is_whole() -> None:
    for name, fields in MESSAGES.items():
        numbers = [int(field.split()[0]) for field in fields.split(",")]
        words = [field.split()[1] for field in fields.split(",")]
        assert len(set(numbers)) == len(numbers) and len(set(words)) == len(words), name
        assert set(message(name).DESCRIPTOR.fields_by_name) == set(words)
    assert {kind for kind, _, _ in SETTINGS.values()} <= MESSAGES.keys() and ENUMS


def test_shared_parameters_are_one() -> None:
    text = """input: "a" input_dim: [1, 4, 1, 1] input: "b" input_dim: [1, 4, 1, 1]
        layer { name: "one" type: "InnerProduct" bottom: "a" top: "fa" param { name: "w" lr_mult: 2 } param { name: "bias" }
                inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "two" type: "InnerProduct" bottom: "b" top: "fb" param { name: "w" } param { name: "bias" }
                inner_product_param { num_output: 3 } }"""
    net = parse_net(text)
    assert net.layer("one").weight is net.layer("two").weight and net.layer("one").bias is net.layer("two").bias
    assert len(list(net.parameters())) == 2 and [m.lr for m in net.multipliers.values()] == [2.0, 1.0]
    x = torch.randn(2, 4, 1, 1)
    made = net(x, x)
    assert torch.equal(made["fa"], made["fb"])
    (made["fa"].sum() + made["fb"].sum()).backward()
    torch.testing.assert_close(net.layer("one").weight.grad, 2 * x.flatten(1).sum(0).expand(3, 4))
    with pytest.raises(UserError, match="another shape than in layer 'one'"):
        parse_net(text.replace("num_output: 3 }", "num_output: 4 }"))
    with pytest.raises(UserError, match="another lr_mult than in layer 'one'"):
        parse_net(text.replace('param { name: "w" }', 'param { name: "w" lr_mult: 1 }'))
    copied = copy.deepcopy(net)
    assert copied.layer("one").weight is copied.layer("two").weight


def test_a_multiplier_of_zero_freezes() -> None:
    net = parse_net(
        BRANCHED.replace('top: "ip"', 'top: "ip" param { lr_mult: 0 } param { lr_mult: 0 decay_mult: 0 }'), "TRAIN"
    )
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["layers.ip.weight", "layers.ip.bias"]


def test_names_that_torch_would_not_take() -> None:
    """Dots, names of methods, the same name twice: layers keep their own names all the same."""
    text = 'input: "x" input_dim: [1, 2, 1, 1]' + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "x" top: "x" }}'
        for name, kind in (
            ("a.b", "Scale"),
            ("a_b", "Scale"),
            ("train", "Scale"),
            ("type", "ReLU"),
            ("type", "ReLU"),
            ("", "ReLU"),
        )
    )
    net = parse_net(text)
    assert list(net.layers) == ["a_b", "a_b_2", "train_2", "type_2", "type_3", "layer"]
    assert [step.name for step in net.steps] == ["a.b", "a_b", "train", "type", "type", ""]
    assert net(torch.ones(1, 2, 1, 1))["x"].flatten().tolist() == [1.0, 1.0]


def test_inputs_are_checked_by_name_and_shape() -> None:
    net = parse_net(BRANCHED)
    x, y = torch.zeros(1, 3, 8, 8), torch.zeros(1)
    assert net.inputs == {"data": (2, 3, 8, 8), "label": (2,)}
    for call, words in (
        (
            lambda: net(torch.zeros(1, 3, 9, 9), y),
            r"another shape than the description[\s\S]*\(N, 3, 8, 8\)[\s\S]*\(1, 3, 9, 9\)",
        ),
        (lambda: net(torch.zeros(3, 8, 8), y), "another shape"),
        (lambda: net(x), "the input 'label' is missing; layer 'main_loss' needs it"),
        (lambda: net(x, y, y), "too many inputs"),
        (lambda: net(x, data=x), "given twice"),
        (lambda: net(dat=x), "has no input 'dat'; did you mean data"),
        (lambda: net.layer("convv"), "no layer 'convv'; did you mean conv"),
    ):
        with pytest.raises(UserError, match=words):
            call()
    assert CaffeScores(net)(x).shape == (1, 5)  # scores need no label


def test_other_sizes_on_request() -> None:
    text = """input: "x" input_dim: [1, 3, 8, 8]
        layer { name: "pool" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: AVE global_pooling: true } }"""
    net = parse_net(text, shapes={"x": (1, 3, 20, 10)})
    x = torch.randn(2, 3, 20, 10)
    torch.testing.assert_close(net(x)["y"], x.mean((2, 3), keepdim=True))
    labelled = parse_net(data_layer("Data", "data_param { batch_size: 7 }"), shapes={"data": (5, 3, 8, 8)})
    assert labelled.inputs["label"] == (5,)  # labels go with the data
    with pytest.raises(UserError, match="shapes names an input that is not there: 'z'"):
        parse_net(text, shapes={"z": (1, 3, 8, 8)})


def data_layer(kind: str, settings: str) -> str:
    return f'''layer {{ name: "d" type: "{kind}" top: "data" top: "label" {settings} }}
        layer {{ name: "r" type: "ReLU" bottom: "data" top: "r" }}'''


@pytest.mark.parametrize(
    ("kind", "settings", "shape"),
    [
        ("MemoryData", "memory_data_param { batch_size: 5 channels: 3 height: 7 width: 9 }", (5, 3, 7, 9)),
        ("ImageData", "image_data_param { batch_size: 4 new_height: 8 new_width: 8 }", (4, 3, 8, 8)),
        ("ImageData", "image_data_param { is_color: false new_height: 8 new_width: 8 crop_size: 6 }", (1, 1, 6, 6)),
        ("Data", "data_param { batch_size: 4 } transform_param { crop_size: 6 force_gray: true }", (4, 1, 6, 6)),
        ("WindowData", "window_data_param { batch_size: 4 crop_size: 6 }", (4, 3, 6, 6)),
        ("DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } }", (2, 3)),
        ("DummyData", "dummy_data_param { num: 4 num: 4 channels: 1 height: 1 width: 2 width: 1 }", (4, 1, 1, 2)),
    ],
)
def test_data_layers_are_inputs(kind: str, settings: str, shape: tuple[int, ...]) -> None:
    net = parse_net(data_layer(kind, settings))
    assert net.inputs["data"] == shape and net.inputs["label"][0] == shape[0]
    assert net.sources[0].kind == kind and net.sources[0].batch_size in (shape[0], 0, 1)


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "Input", "DummyData"])
def test_a_net_without_the_shape_of_its_input(kind: str) -> None:
    text = data_layer(kind, "data_param { batch_size: 7 }" if kind == "Data" else "")
    with pytest.raises(
        UserError, match=r"layer 'd'[\s\S]*shape of the input 'data' is not known[\s\S]*shapes=\{'data': \("
    ):
        parse_net(text)
    net = parse_net(text, shapes={"data": (7, 3, 8, 8), "label": (7,)})
    assert net.inputs == {"data": (7, 3, 8, 8), "label": (7,)}


def test_what_a_description_says_of_its_data() -> None:
    text = data_layer(
        "Data",
        "include { phase: TRAIN } data_param { batch_size: 256 } transform_param "
        "{ mirror: true crop_size: 227 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 }",
    )
    (source,) = parse_sources(text, "TRAIN")
    assert (source.batch_size, source.crop_size, source.mirror, source.scale) == (256, 227, True, 0.5)
    assert source.mean_value == (104.0, 117.0, 123.0)
    assert parse_sources(text, "TEST") == []
    old = 'layers { name: "d" type: DATA top: "x" data_param { scale: 0.25 mirror: true crop_size: 5 mean_file: "m" } }'
    (source,) = parse_sources(old, "TRAIN")
    assert (source.scale, source.mirror, source.crop_size, source.mean_file) == (0.25, True, 5, "m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no layer"),
        ('layer { name: "r" type: "ReLU" }', "another number of bottoms"),
        ('layer { name: "r" type: "ReLU" bottom: "x" top: "y" }', "no layer before it makes the blob 'x'"),
        (
            'input: "data" input_dim: [1,1,1,1] layer { name: "r" type: "ReLU" bottom: "dta" top: "y" }',
            "'dta'; did you mean data",
        ),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "r" type: "Convlution" bottom: "x" top: "y" }',
            "no type of layer 'Convlution'; did you mean Convolution",
        ),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "py" type: "Python" top: "y" python_param { module: "m" } }',
            "no type of layer 'Python'",
        ),
        (
            'input: "x" input_dim: [1,1,1] layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
            "inputs and their shapes do not match",
        ),
        ('input: "x" layer { name: "r" type: "ReLU" bottom: "x" top: "y" }', "shape of the input 'x' is not known"),
        (
            'input: "x" input_dim: [1,0,1,1] layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
            "shape of the input 'x' is not known",
        ),
        ('input: "x" input_dim: [1,1,1,1] layer { name: "r" } layers { name: "s" }', "mixes two forms"),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "r" type: "ReLU" bottom: "x" top: "x" } layer { name: "s" type: "ReLU" bottom: "x" top: "x" }'
            ' layer { name: "t" type: "Power" bottom: "x" top: "y" } layer { name: "u" type: "Power" bottom: "x" top: "y" }',
            "'y' is made by two layers",
        ),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "r" type: "Scale" bottom: "x" top: "y" param {} param {} }',
            "more param than blobs",
        ),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "r" type: "ReLU" bottom: "x" top: "y" loss_weight: [1, 1] }',
            "one loss_weight for each top",
        ),
        (
            'input: "x" input_dim: [1,1,1,1] layer { name: "r" type: "Scale" bottom: "x" top: "y" } layer { name: "r" type: "Scale" bottom: "y" top: "z" }',
            "have one name",
        ),
        ('layer { name: "d" type: "Data" top: "x" include { phase: TRAIN } }', "no input in the phase TEST"),
        (
            'layer { name: "d" type: "ImageData" top: "x" image_data_param { new_height: 8 new_width: 9 } }',
            "must be square",
        ),
        (
            'layer { name: "d" type: "Data" top: "x" transform_param { mean_file: "m" mean_value: 1 } }',
            "mean is given twice",
        ),
    ],
)
def test_wrong_descriptions(text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        parse_net(text)
    assert words in str(error.value)


def test_errors_name_the_line_of_the_layer() -> None:
    text = '# layer {\nname: "layer {"\ninput: "x" input_dim: [1, 1, 1, 1]\nlayer { name: "a" type: "ReLU" bottom: "x" top: "y"\n  param { name: "#" } }\n\nlayer\n{ name: "bad" type: "Odd" }'
    with pytest.raises(UserError, match=r"layer 'a' \(ReLU\) of f.prototxt, line 4: there are more param"):
        parse_net(text, where="f.prototxt")
    with pytest.raises(UserError, match=r"layer 'bad' \(Odd\) of f.prototxt, line 8"):
        parse_net(text.replace('param { name: "#" }', ""), where="f.prototxt")
    assert layer_lines("layers <\n>\nlayers {}")["layers"] == [1, 3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'layer { name: "a"\n  tpye: "ReLU" }', r"line 2, column 3\n[\s\S]*no field named \"tpye\""),
        (b'layer { name: "a" ', r"line 1, column"),
        (b"layer { pooling_param { pool: MOX } }", r"line 1[\s\S]*no value named MOX"),
        (b"Not a net at all: it is prose.", r"line 1"),
        (b"\x0a\x04lenet\x08\x96\x01", r"a binary file stands in the place of a text"),
        (
            b"layer { name: '\xff\xfe' type: 'ReLU' }",
            r"another number of bottoms",
        ),  # another encoding is no error by itself
    ],
)
def test_files_that_are_no_descriptions(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_net(file)
    assert str(file) in str(error.value) and "Scope" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_net(tmp_path / "no.prototxt")
    with pytest.raises(UserError, match="this is no file"):
        read_net(tmp_path)
    (tmp_path / "bom.prototxt").write_text("\ufeff" + BRANCHED, encoding="utf-8")
    assert read_net(tmp_path / "bom.prototxt").name == "branched"


def test_without_protobuf_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from chainrule.interop.caffe.description import schema

    schema._classes.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(UserError, match=r"needs the package protobuf[\s\S]*pip install 'chainrule\[caffe\]'"):
        schema.message("Net")
    monkeypatch.undo()
    assert schema.message("Net")().name == ""
