"""Images that stay on the disk: the same bytes, batches and runs as in memory, and memory that stays flat."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.batches import Batches
from chainrule.data.images import cache
from chainrule.data.images.loading import read_image_splits
from chainrule.data.streams.memory import SETTING, _of_groups, choose_memory, free_memory
from chainrule.data.streams.stored import StoredImages, read_ahead

COMMON: dict[str, Any] = {"target": None, "channels": 0, "seed": 0, "val_fraction": 0.2}


def class_folders(folder: Path, count: int, size: int = 9, mode: str = "RGB") -> Path:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            shape = (size, size) if mode == "L" else (size, size, 3)
            Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / label / f"{index}.png")
    return folder


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_same_splits_batches_and_spec_as_in_memory(mode: str, tmp_path: Path) -> None:
    source = str(class_folders(tmp_path / "d", 20, mode=mode))
    (spec, here), (other, there) = (
        read_image_splits(source, size=8, **COMMON, fits=fits) for fits in (None, lambda wanted: False)
    )
    assert spec == other
    for name in here:
        x = there[name].x
        assert isinstance(x, StoredImages) and torch.equal(here[name].y, there[name].y)
        assert torch.equal(torch.cat([*x.split(7)]), here[name].x) and x.shape == here[name].x.shape
        assert torch.equal(x[1], here[name].x[1]) and torch.equal(x[-1], here[name].x[-1])
    layout = {"device": "cpu", "memory_format": torch.channels_last}
    loaders = [Batches(part["train"].x.to(**layout), part["train"].y, 6, seed=3) for part in (here, there)]
    for a, b in zip(loaders[0].epoch(2, 1), loaders[1].epoch(2, 1), strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.index, b.index)
        assert a.x.stride() == b.x.stride()


def test_arrays_that_are_mapped_stay_mapped(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    from chainrule.data.given.reading import given

    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    labels = np.arange(40) % 2
    specs = []
    for source, kind in ((given((mapped, labels)), StoredImages), (given((x, labels)), torch.Tensor)):
        spec, splits = read_image_splits(source, size=8, **COMMON, fits=lambda wanted: False)
        assert isinstance(splits["train"].x, kind)
        specs.append(spec)
    assert specs[0] == specs[1]


def numbers(run: Any) -> tuple[Any, ...]:
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()]
    return lines, run.result()["metrics"], [p.tolist() for p in run.task.model.parameters()]


def test_a_run_is_equal_bit_for_bit_wherever_its_images_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    source = class_folders(tmp_path / "d", 20)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 7, "log_every": 1}
    found = []
    for asked in ("yes", "no"):
        monkeypatch.setenv(SETTING, asked)
        run = chainrule.train("lenet-caffe", data=source, out=tmp_path / asked, **settings)
        record = json.loads((tmp_path / asked / "run.json").read_text())["data"]["in_memory"]
        assert record == {"chosen": asked == "yes", "reason": f"{SETTING}={asked}"}
        assert isinstance(run.task.data.train.x, StoredImages) == (asked == "no")
        if asked == "no":
            run.task.figures()
        found.append(numbers(run))
    assert found[0] == found[1]
    # A run that is opened again repeats its choice, and counts no pixel once more.
    monkeypatch.setenv(SETTING, "yes")
    monkeypatch.setattr("chainrule.data.images.loading.pixel_statistics", lambda x: 1 / 0)
    assert chainrule.evaluate(tmp_path / "no") == found[0][1]


def test_the_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setattr("chainrule.data.streams.memory.free_memory", lambda: 4_000_000)
    assert choose_memory(1_000_000)["chosen"] and not choose_memory(1_000_001)["chosen"]
    assert choose_memory(2_000_000)["reason"] == "2 MB are not within 1/4 of the 4 MB that are free"
    before = {"chosen": True, "reason": "as before"}
    assert choose_memory(9_000_000, before) is before
    monkeypatch.setattr("chainrule.data.streams.memory.free_memory", lambda: None)
    assert choose_memory(10**15)["chosen"]
    monkeypatch.setenv(SETTING, "maybe")
    with pytest.raises(UserError, match="auto, yes or no"):
        choose_memory(1)


def test_limits_of_control_groups(tmp_path: Path) -> None:
    """Both versions; the closest limit counts, and cached files give way."""
    new, old = tmp_path / "new", tmp_path / "old"
    (new / "a" / "b").mkdir(parents=True)
    for folder, limit, used in ((new / "a" / "b", "max", 10), (new / "a", "1000", 600)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    (new / "a" / "memory.stat").write_text("anon 500\ninactive_file 100\n")
    (tmp_path / "own").write_text("0::/a/b\n")
    assert _of_groups(new, tmp_path / "own") == [500]
    (old / "memory").mkdir(parents=True)
    (old / "memory" / "memory.limit_in_bytes").write_text("300")
    (old / "memory" / "memory.usage_in_bytes").write_text("100")
    (tmp_path / "own").write_text("4:memory:/elsewhere\n3:cpuset:/\n")
    assert _of_groups(old, tmp_path / "own") == [200]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of data are Linux's")
def test_a_limit_of_this_process_counts() -> None:
    code = (
        "import resource; from chainrule.data.streams.memory import free_memory, _table; from pathlib import Path\n"
        "used = _table(Path('/proc/self/status'))['VmData'] * 1024\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + 10**7, -1)); print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 8_000_000 < int(done.stdout) <= 10_000_000
    assert free_memory() is not None and resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_an_error_while_reading_ahead_is_raised_where_it_belongs() -> None:
    def items():
        yield 1
        yield 2
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match="broken"):
        for item in read_ahead(items()):
            found.append(item)
    assert found == [1, 2]
    stopped = read_ahead(iter(range(9)))
    assert next(stopped) == 0
    stopped.close()


LIMITED = """
import os, resource, sys, threading
from pathlib import Path
import torch
from chainrule.core.data.request import DataRequest
from chainrule.data.batches import Batches
from chainrule.data.images.loading import load_images
from chainrule.data.streams.memory import _table

torch.set_num_threads(1)
threading.stack_size(2**20)  # stacks count, used or not
left = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (_table(Path("/proc/self/status"))["VmData"] * 1024 + left, -1))
request = DataRequest({"": sys.argv[1]})
os.environ.pop(sys.argv[3], None)
data = load_images(request, size=256, may_stay=True)
total = sum(data.spec.counts.values()) * 256 * 256 * 3
assert total >= 4 * left, (total, left)
for batch in Batches(data.train.x.to("cpu", memory_format=torch.channels_last), data.train.y, 8, seed=0).epoch(0):
    assert batch.x.shape[1:] == (3, 256, 256)
    anonymous = _table(Path("/proc/self/status"))["RssAnon"]
print(request.record["in_memory"]["reason"])
del data, batch
os.environ[sys.argv[3]] = "yes"
try:
    load_images(DataRequest({"": sys.argv[1]}), size=256, may_stay=True).train.x
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of data are Linux's")
def test_four_times_the_memory_that_a_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under RLIMIT_DATA a set of 4 times what it leaves is decoded, counted and read; in memory it cannot be."""
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # so that what is freed is free, and the margin not left to chance
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    source = class_folders(tmp_path / "d", 370, size=4)
    command = [sys.executable, "-c", LIMITED, str(source), str(36_000_000), SETTING]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reason, failed = done.stdout.splitlines()
    assert "are not within 1/4" in reason and ("MemoryError" in failed or "llocate memory" in failed)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "map_decoded", lambda *given, **more: None)
    monkeypatch.setattr("chainrule.data.streams.images.map_decoded", lambda *given, **more: None)
    source = str(class_folders(tmp_path / "d", 8))
    _, splits = read_image_splits(source, size=8, **COMMON, fits=lambda wanted: False)
    assert isinstance(splits["train"].x, torch.Tensor)
