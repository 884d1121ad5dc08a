"""The tutorial of one's own data, network and loss can be followed, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorial_pages import ROOT, blocks, check, text_of

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs the repository")


def test_the_tutorial_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("both.html", "answers.csv", "runs/shapes/explain.html", "runs/shapes/export/model.pt2")
    check("own", tmp_path, examples=5, files=files)


def test_the_translation_has_the_same_examples() -> None:
    """What is run is the English page; the Chinese one shows the same."""
    english, chinese = ([block[:3] for block in blocks(text_of(page))] for page in ("own", "own.zh"))
    assert english == chinese
