"""The tutorials can be followed, and their images are those that the program makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tutorial_pages import ROOT, check, follow, text_of

PAGES = {  # by the pages and files that their commands leave
    "ground": ("graph.html", "neuron.html", "activations.png", "policies.svg", "plants.html"),
    "vision": ("why.html", "why-not-5.html", "runs/digits/export/model.onnx"),
}
ELSEWHERE = {"own", "own.zh", "segmentation"}  # tests/test_tutorial_own.py, tests/test_tutorial_segmentation.py
IMAGES = r"!\[([^\]]+)\]\((figures/[^)]+)\)"

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs the repository")


@pytest.mark.parametrize("page", PAGES)
def test_the_tutorial_can_be_followed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(page, tmp_path, examples=15, files=PAGES[page])


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\n>>> a = 1\n\n```\n\n```python\n>>> a + b\n1\n```\n",
        "```python\nprint(1)\n```\n",
        "```console\nchainrule trian ravine\n```\n",
        '```console\nchainrule explain "x*x" x=2\n```\n\n```text\nf = 5\n```\n',
        "```console\nchainrule list\n```\n\n```messages\nnot said\n```\n",
        "```sh\nls\n```\n",
        "```console 2\nchainrule list\n```\n",
    ],
)
def test_a_wrong_page_would_be_seen(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        follow(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_its_images_are_small_and_made_by_the_program(page: str) -> None:
    named = re.findall(IMAGES, text_of(page))
    maker = (ROOT / "docs/figures/make.py").read_text("utf-8")
    assert len(named) >= 3
    for title, path in named:
        file = ROOT / "docs" / path
        assert title and 1_000 < file.stat().st_size < 100_000, path
        assert file.name in maker, path


def test_every_tutorial_is_followed() -> None:
    found = {file.stem.removeprefix("tutorial-") for file in (ROOT / "docs").glob("tutorial-*.md")}
    assert found == PAGES.keys() | ELSEWHERE
