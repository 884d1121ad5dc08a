"""The tutorial of segmentation can be followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorial_pages import ROOT, check

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs the repository")


def test_the_tutorial_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("runs/shapes/explain.html", "runs/shapes/export/model.pt2")
    check("segmentation", tmp_path, examples=5, files=files)
