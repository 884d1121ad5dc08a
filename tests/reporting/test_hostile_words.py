"""Names of classes, columns and files come from elsewhere: on a page they are text, whatever stands in them."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import pytest

import chainrule

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    '" onmouseover="alert(1)',
    "</title><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "$x_{1$ &amp;",
)


class Alive(HTMLParser):
    """What a browser would make of the words: elements and attributes that call `alert`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_script = tag == "script"
        self.found += [
            f"{tag} {name}={value}" for name, value in attrs if name[:2] == "on" and "alert" in (value or "")
        ]

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script and "alert(" in data:
            self.found.append(f"script {data[:40]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with such classes and columns, in a file of such a name."""
    place = tmp_path_factory.mktemp("hostile")
    file = place / f"{HOSTILE[0]}{HOSTILE[2]}.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*HOSTILE, "kind"])
        for row in range(120):
            of = row % len(HOSTILE)
            numbers = [f"{(row * 7 + k * 3) % 11 + 20 * (k == of) + 0.5:.1f}" for k in range(len(HOSTILE))]
            writer.writerow([*numbers, HOSTILE[of]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.api.training._report", lambda run: None)
        words = {"data": str(file), "target": "kind", "device": "cpu", "epochs": 1, "hidden": (4,)}
        return chainrule.train("mlp-table", out=place / "run", **words).folder


@pytest.mark.parametrize("page", ["report", "comparison", "explain"])
def test_hostile_words_stay_text(page: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    if page == "explain":
        chainrule.explain(folder, out=out, device="cpu")
    else:
        chainrule.report(*[folder] * (1 + (page == "comparison")), out=out)
    text = out.read_text("utf-8")
    alive = Alive()
    alive.feed(text)
    assert not alive.found and "<img src=x" not in text
    assert "onerror=alert" not in text or "&lt;img src=x onerror=alert(1)&gt;" in text
    assert page != "report" or all(word in text for word in ("&lt;img src=x", "{{ 7 * 7 }}", "&lt;svg onload"))
