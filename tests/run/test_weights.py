"""Weights from files: what is read, what is taken, and what a wrong file is told; published ones found and fetched."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import pickle
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from chainrule import api, cli
from chainrule.core.errors import UserError
from chainrule.data.catalog import published_weights as found_weights
from chainrule.data.catalog.download import download
from chainrule.models import build, published_weights, recognise, weights_named
from chainrule.run.checkpoint.tree import save_tree
from chainrule.run.run import Run
from chainrule.run.weights.files import read_weights
from chainrule.run.weights.loading import load_file, parts_left_out

pytestmark = pytest.mark.usefixtures("no_report")

TINY = {"googlenet-bn": {"width": 1 / 16}, "resnet18": {"width": 16}, "vgg11": {"width": 1 / 16}}


def tiny(name: str, **settings: Any) -> nn.Module:
    return build(name, **{"num_classes": 10, **TINY.get(name, {}), **settings})


def saved(module: nn.Module, file: Path) -> Path:
    torch.save(module.state_dict(), file)
    return file


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(v, expected[k]) for k, v in found.items())


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_is_read(zipped: bool, prefix: str, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": value for name, value in nn.Linear(3, 2).state_dict().items()}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found, metadata = read_weights(tmp_path / "w.pth")
    assert same(found, {name.removeprefix("module."): value for name, value in state.items()}) and not metadata


def test_the_name_does_not_say_what_a_file_is(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")[0]["a"].tolist() == [1, 1]


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("it-ran",)


def zip_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def torch_bytes(content: Any, zipped: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def scripted() -> bytes:
    out = io.BytesIO()
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), out)
    return out.getvalue()


LARGE = {"w": torch.arange(5000.0)}
HOSTILE: dict[str, tuple[Any, str]] = {
    "empty": (lambda: b"", "is empty"),
    "code": (lambda: torch_bytes({"w": Runs()}), r"can run code(.|\n)*a call of posix.mkdir"),
    "code, old form": (lambda: torch_bytes({"w": Runs()}, False), r"can run code(.|\n)*posix.mkdir"),
    "code, bare pickle": (lambda: pickle.dumps(Runs(), 4), "is a pickle"),
    "cut off": (lambda: torch_bytes(LARGE)[:9000], "cut off"),
    "cut off, old form": (lambda: torch_bytes(LARGE, False)[:9000], "cut off"),
    "two bytes": (lambda: b"PK", "cut off"),
    "another zip": (lambda: zip_of(a=b"text"), "cannot be read as a state dict"),
    "a pickle of numbers": (lambda: pickle.dumps([1, 2], 2), "is a pickle"),
    "a list": (lambda: torch_bytes([torch.ones(2)]), r"no state dict(.|\n)*a list"),
    "one tensor": (lambda: torch_bytes(torch.ones(2)), r"no state dict(.|\n)*a Tensor"),
    "an empty dict": (lambda: torch_bytes({}), "is empty"),
    "numbers by name": (lambda: torch_bytes({"w": torch.ones(1), "epoch": 3}), r"something else(.|\n)*also epoch"),
    "a checkpoint": (
        lambda: torch_bytes({"epoch": 3, "state_dict": {"w": torch.ones(1)}, "optimizer": {}}),
        r"also epoch, state_dict, optimizer(.|\n)*\['state_dict'\]",
    ),
    "a whole module": (lambda: torch_bytes(nn.Linear(2, 2)), r"can run code(.|\n)*torch.nn.modules.linear.Linear"),
    "text": (lambda: b"hello, world\n" * 30, "cannot be read as safetensors"),
    "safetensors cut off": (lambda: safetensors.torch.save(LARGE)[:9000], "cannot be read as safetensors"),
    "a script": (scripted, "cannot be read as a state dict"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_file_of_weights_is_told_and_not_run(kind: str, tmp_path: Path) -> None:
    make, text = HOSTILE[kind]
    file = tmp_path / "w.pth"
    file.write_bytes(make())
    with pytest.raises(UserError, match=text) as caught:
        read_weights(file)
    assert str(file) in str(caught.value) or "w.pth" in str(caught.value)
    assert not Path("it-ran").exists()


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best\.safetensors"):
        read_weights(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_weights(tmp_path / "none.pth")


# -- taking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "googlenet-bn", "vgg11"])
def test_weights_of_the_same_network_load_whole(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = tiny(name), tiny(name)
    assert load_file(saved(one, tmp_path / "w.pth"), {"model": other}, name) == []
    assert same(other.state_dict(), one.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "googlenet-bn", "vgg11", "resnet20"])
def test_another_number_of_classes_begins_the_head_anew(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = tiny(name), tiny(name, num_classes=4)
    (layer,) = (layer for layer in other.class_layers if not layer.startswith("aux"))
    before = {k: v.clone() for k, v in other.state_dict().items() if k.startswith(layer)}
    (note,) = load_file(saved(one, tmp_path / "w.pth"), {"model": other}, name)
    assert note == f"w.pth: the layer {layer} begins anew, for 4 classes instead of 10"
    expected = {**one.state_dict(), **before}
    assert same(other.state_dict(), expected)


def test_heads_that_the_network_has_not_stay_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = tiny("googlenet-bn", heads=True), tiny("googlenet-bn", num_classes=4)
    assert parts_left_out(other) == ["aux1", "aux2"] and parts_left_out(one) == []
    notes = load_file(saved(one, tmp_path / "w.pth"), {"model": other}, "googlenet-bn")
    assert [note.split(": ")[1].split(" ")[0] for note in notes] == ["aux1", "aux2", "the"]
    state = one.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items() if not k.startswith("fc"))
    with pytest.raises(UserError, match=r"missing: aux1.conv.conv.weight"):
        load_file(saved(other, tmp_path / "w.pth"), {"model": tiny("googlenet-bn", heads=True)}, "googlenet-bn")


def test_files_from_before_batches_were_counted_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = tiny("resnet18"), tiny("resnet18", num_classes=3)
    old = {k: v for k, v in one.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    assert len(load_file(tmp_path / "w.pth", {"model": other}, "resnet18")) == 1
    assert load_file(tmp_path / "w.pth", {"model": tiny("resnet18")}, "resnet18") == []
    assert int(other.bn1.num_batches_tracked) == 0 and torch.equal(other.conv1.weight, one.conv1.weight)


def test_half_precision_is_taken_as_the_networks_own(tmp_path: Path) -> None:
    one, other = tiny("resnet18").half(), tiny("resnet18")
    load_file(saved(one, tmp_path / "w.pth"), {"model": other}, "resnet18")
    assert other.conv1.weight.dtype == torch.float32 and torch.equal(other.conv1.weight, one.conv1.weight.float())


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = saved(build("lenet-caffe"), tmp_path / "w.pth")
    with pytest.raises(UserError) as caught:
        load_file(file, {"model": tiny("resnet18")}, "resnet18", recognise)
    text = str(caught.value)
    assert "not those of resnet18" in text and "missing: conv1.weight" not in text
    assert "missing: bn1.weight, bn1.bias, bn1.running_mean and " in text and "unexpected: conv1.bias" in text
    assert "conv1.weight (20, 1, 5, 5) instead of (16, 3, 7, 7)" in text
    assert text.endswith("they look like those of lenet-backprop or lenet-caffe")


def test_a_layer_of_another_width_is_no_head(tmp_path: Path) -> None:
    wide = tiny("resnet18").state_dict() | {"fc.weight": torch.zeros(10, 256)}
    torch.save(wide, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"fc.weight \(10, 256\) instead of \(3, 128\)"):
        load_file(tmp_path / "w.pth", {"model": tiny("resnet18", num_classes=3)}, "x")
    first = tiny("resnet18")
    broken = first.state_dict() | {"fc.bias": torch.zeros(9)}
    torch.save(broken, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"fc.bias \(9,\) instead of \(3,\)"):
        load_file(tmp_path / "w.pth", {"model": tiny("resnet18", num_classes=3)}, "x")


NAMED = [
    ("resnet50", {"num_classes": 3}, ("resnet50",)),
    ("vgg13-bn", {}, ("vgg13-bn",)),
    ("googlenet-bn", {"heads": True}, ("googlenet-bn",)),
    ("alexnet", {"num_classes": 5}, ("alexnet", "alexnet-caffe", "caffenet")),
    ("resnet20", {}, ("plain20", "resnet20")),
    ("resnet18", {"width": 32}, ()),
]


@pytest.mark.parametrize(("name", "settings", "expected"), NAMED)
def test_networks_are_told_by_names_and_shapes(name: str, settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build(name, **settings).state_dict().items()}
    assert tuple(sorted(recognise(shapes))) == expected


# -- published ones -------------------------------------------------------------------------------------------------


def test_who_publishes_what() -> None:
    weights = published_weights("vgg16")
    assert (
        weights.address == "https://download.pytorch.org/models/vgg16-397923af.pth"
        and weights.sha256_prefix == "397923af"
    )
    with pytest.raises(UserError, match=r"no weights of lenet5\n.*alexnet-one-tower(.|\n)*--weights FILE"):
        published_weights("lenet5")
    assert (
        weights_named("vgg16", "a/vgg16-397923af.pth") is weights
        and weights_named("vgg16", "vgg13-19584684.pth") is None
    )


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
    """An address of a small file whose name has its sum, served from memory; nothing else is to be had."""
    content = torch_bytes({"w": torch.ones(3)})
    address = f"https://example.org/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    def served(asked: str, timeout: float) -> io.BytesIO:
        if asked != address:
            raise OSError("no network")
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", served)
    for name in ("CHAINRULE_CACHE", "CHAINRULE_DATA", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return address, content


def test_published_weights_are_fetched_once_and_checked(published: tuple[str, bytes], tmp_path: Path) -> None:
    address, content = published
    said: list[str] = []
    prefix = address[-12:-4]
    file = found_weights.find_weights(address, prefix, said.append)
    assert file.parent == tmp_path / "chainrule_cache" / "weights" and file.read_bytes() == content
    assert found_weights.find_weights(address, prefix, said.append) == file and said == [f"fetching {address}"]
    with pytest.raises(UserError, match=r"not the published one(.|\n)*SHA-256 00000000(.|\n)*remove it"):
        found_weights.find_weights(address, "00000000")
    file.unlink()
    with pytest.raises(UserError, match="a fetched file is not the published one"):
        found_weights.find_weights(address, "00000000")
    assert list(file.parent.iterdir()) == []


def test_a_connection_that_ends_too_soon_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real answer of HTTP that promises ten bytes and gives four; no sum is known that would tell."""

    class Half(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Half) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(UserError, match="ended too soon"):
            download(
                f"http://127.0.0.1:{server.server_port}/x", tmp_path / "x", sha256=None, what="the file", cure="wait"
            )
        thread.join()
    assert list(tmp_path.glob("*x*")) == []


@pytest.mark.parametrize("folder", ["chainrule_data/weights", "chainrule_cache/weights", "torch_home/hub/checkpoints"])
def test_a_file_that_is_here_is_found(folder: str, published: tuple[str, bytes], tmp_path: Path) -> None:
    address, content = published
    (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / folder / address.rpartition("/")[2]
    file.write_bytes(content)
    assert found_weights.find_weights("https://elsewhere/" + file.name, address[-12:-4]) == file


@pytest.mark.usefixtures("published")
def test_without_network_the_error_names_file_address_and_place(tmp_path: Path) -> None:
    weights = published_weights("resnet50")
    with pytest.raises(UserError) as caught:
        found_weights.find_weights(weights.address, weights.sha256_prefix)
    text = str(caught.value)
    assert "resnet50-0676ba61.pth is not here and could not be fetched" in text and weights.address in text
    assert str(tmp_path / "chainrule_data" / "weights") in text and "--weights FILE" in text


# -- the command ----------------------------------------------------------------------------------------------------


def few_images(file: Path, classes: int, size: int = 28, darkest: int = 0, brightest: int = 255) -> str:
    """Sixty images by chance, of so many classes."""
    x = np.random.default_rng(0).integers(darkest, brightest + 1, (60, size, size), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(60) % classes)
    return str(file)


def test_a_training_that_starts_from_a_state_dict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net = build("resnet20", depth=8, in_channels=1, num_classes=7)
    saved(net, tmp_path / "w.pth")
    settings = {"depth": 8, "epochs": 1, "lr": 1e-12, "augment": False, "batch_size": 700}
    run = api.train("resnet20", data="digits", out=tmp_path / "run", weights=str(tmp_path / "w.pth"), **settings)
    assert "w.pth: the layer fc begins anew, for 10 classes instead of 7" in capsys.readouterr().err
    learnt = run.open_task().modules()["model"]
    assert torch.allclose(learnt.stage3[0].conv1.weight.cpu(), net.stage3[0].conv1.weight, atol=1e-8)


def test_weights_of_a_twin_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain network and a residual one have the same names and shapes; the run that learnt the weights says which."""
    data = few_images(tmp_path / "ten.npz", 10, 16)
    settings = {"data": data, "size": 16, "epochs": 1, "batch_size": 16, "flip": False}
    api.train("image-classifier", network="plain20", out=tmp_path / "plain", **settings)
    best = str(tmp_path / "plain" / "checkpoint" / "best.safetensors")
    capsys.readouterr()
    for network, told in (("plain20", False), ("resnet20", True)):
        api.train("image-classifier", network=network, out=tmp_path / f"from-{network}", weights=best, **settings)
        assert ("a run of plain20 learnt these weights; they fit resnet20" in capsys.readouterr().err) == told


def test_a_network_goes_on_with_the_pixels_that_it_learnt_on(tmp_path: Path) -> None:
    """Its own data have another mean; what the first layers expect is that of the run which taught them."""
    settings = {"epochs": 1, "log_every": 3, "batch_size": 16, "lr": 1e-4}
    dark = few_images(tmp_path / "dark.npz", 10, brightest=55)
    first = api.train("lenet-caffe", data=dark, out=tmp_path / "first", **settings)
    other = {"data": few_images(tmp_path / "bright.npz", 3, darkest=200), **settings}
    fresh = api.train("lenet-caffe", out=tmp_path / "fresh", **other)
    tuned = api.train("lenet-caffe", out=tmp_path / "tuned", weights=str(tmp_path / "first"), **other)
    again = api.train(
        "lenet-caffe", out=tmp_path / "again", weights=str(tuned.folder / "checkpoint/best.safetensors"), **other
    )
    shutil.rmtree(tmp_path / "first")
    shift = {run.folder.name: Run.load(run.folder).open_task().normalize.shift.item() for run in (fresh, tuned, again)}
    expected = first.task.normalize.shift.item()
    assert shift["tuned"] == shift["again"] == expected != shift["fresh"]
    record = {
        key: value
        for key, value in json.loads((again.folder / "run.json").read_text("utf-8")).items()
        if key not in ("pixels", "sha256")
    }
    (again.folder / "run.json").write_text(
        json.dumps(record), "utf-8"
    )  # as before records kept them: it learnt on its data's
    assert Run.load(again.folder).open_task().normalize.shift.item() == shift["fresh"]


COMMANDS = [
    (["resnet20", "--weights", "torchvision"], ["publishes no weights of resnet20", "resnet50"]),
    (["lenet-caffe", "--weights", "w.pth"], ["not those of lenet-caffe", "unexpected", "resnet20"]),
    (["lenet-caffe", "--weights", "empty.pth"], ["is empty", "empty.pth"]),
]


@pytest.mark.parametrize(("words", "texts"), COMMANDS)
def test_a_wrong_file_ends_with_status_2(
    words: list[str], texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    saved(build("resnet20"), Path("w.pth"))
    Path("empty.pth").touch()
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", *words, "--data", "digits", "--out", "run", "epochs=1"])
    told = capsys.readouterr().err
    assert caught.value.code == 2 and all(text in told for text in texts), told
    assert "Traceback" not in told and not Path("run").exists()


def test_a_run_stands_for_the_weights_that_it_chose(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no weights that a run has chosen[\s\S]*best.safetensors"):
        read_weights(tmp_path / "run")
    learnt, fresh = nn.Linear(2, 3), nn.Linear(2, 3)
    save_tree({"model": learnt.state_dict()}, tmp_path / "run" / "checkpoint" / "best.safetensors")
    assert load_file(tmp_path / "run", {"model": fresh}, "linear") == []
    assert torch.equal(fresh.weight, learnt.weight) and torch.equal(fresh.bias, learnt.bias)
