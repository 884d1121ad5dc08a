"""Names of data sets and paths: which is meant, where it was, whether the files are the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chainrule
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.catalog import sources
from chainrule.data.catalog.checksums import note_sums
from chainrule.data.catalog.download import sha256_of
from chainrule.data.catalog.record import Source
from chainrule.data.given.reading import as_source
from chainrule.data.layout import layout_of
from tests.data.image_sets import write_images


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder called as a known data set."""
    for name in ("cat", "dog"):
        write_images(tmp_path / "iris" / name, 6)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_does_not_hide_a_known_set(shadowed: Path) -> None:
    own = DataRequest({"": "iris"})  # of a recipe that learns from it where nothing is named, and of a run's record
    assert layout_of(own).kind == "table" and layout_of(DataRequest.from_record(own.to_record())).known == "iris"
    assert layout_of("./iris").form == "folder"
    for data in ("iris", {"train": "iris"}):
        with pytest.raises(UserError, match=r"(?s)iris is a known data set.*--data \./iris for the path"):
            chainrule.train("lda", data=data, out=shadowed / "other")
    assert as_source(Path("iris")) == "./iris" and as_source("./iris") == "./iris"
    assert not (shadowed / "other").exists()


@pytest.mark.parametrize("option", ["data", "target", "val", "test", "out", "weights"])
def test_an_empty_option_is_a_variable_that_is_not_set(option: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--{option} is empty"):
        chainrule.train("lda", **{"out": tmp_path / "run", option: ""})
    assert not (tmp_path / "run").exists()


def test_the_record_finds_the_data_from_anywhere(shadowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = sources.located(DataRequest({"train": "./iris", "test": "digits"}))
    record = {**json.loads(json.dumps(request.to_record())), "notes": []}
    assert record["places"] == {"train": str(shadowed / "iris")} and record["sources"]["train"] == "./iris"
    (shadowed / "digits").mkdir()  # later: the known set stays what it was
    for folder in (shadowed, shadowed / "elsewhere"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        again = DataRequest.from_record(record, working_folder=str(shadowed))
        assert Path(again.sources["train"]).samefile(shadowed / "iris") and again.sources["test"] == "digits"
    (shadowed / "iris").rename(shadowed / "elsewhere" / "iris")  # moved with the working folder
    assert Path(DataRequest.from_record(record, working_folder=str(shadowed)).sources["train"]).is_dir()
    monkeypatch.chdir(shadowed)
    with pytest.raises(UserError, match=r"(?s)no path './iris'.*there it was when the run began"):
        layout_of(DataRequest.from_record(record, working_folder=str(shadowed)))


def test_files_that_are_not_the_published_ones_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    (tmp_path / "own").mkdir()
    known, other = tmp_path / "own" / "a.txt", tmp_path / "own" / "b.txt"
    known.write_text("café\n" * 9, "utf-8")
    other.write_text("more")
    published = {"a.txt": sha256_of(known), "b.txt": None}
    monkeypatch.setitem(sources.SOURCES, "own", Source("own", "text", "", "", "", files=published))
    assert sources.resolve("own") == tmp_path / "own"
    known.write_bytes(("café\r\n" * 9).encode("latin-1"))  # as it may have been published
    assert sources.resolve("own") == tmp_path / "own"
    known.write_text("cafe\n" * 9, "utf-8")
    with pytest.raises(UserError, match=r"(?s)'own' is not the published one.*a.txt.*SHA-256"):
        sources.resolve("own")
    note_sums(tmp_path / "own", published)  # as they were fetched, where the publisher has changed a file
    assert sources.resolve("own")
    other.write_text("more of it")
    with pytest.raises(UserError, match=r"(?s)not the published one.*b.txt"):
        sources.resolve("own")
