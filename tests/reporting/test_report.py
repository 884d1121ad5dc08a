"""The report, its figures and the ledger, and what a browser makes of them."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import chainrule
from chainrule.api import report
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import UserError
from chainrule.reporting import ledger
from chainrule.reporting import plots as figures
from chainrule.reporting.learning_curves import curve_figures, series_of
from chainrule.reporting.ledger_page import render
from chainrule.reporting.page import figure
from chainrule.reporting.report import command_of, films
from chainrule.run.folder.record import circumstances
from chainrule.run.run import Run
from tests.trained import lenet_run

pytestmark = pytest.mark.usefixtures("laid_out")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def run_folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy, to be changed at will."""
    return Path(shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "a-run"))


def change_record(folder: Path, **changes: object) -> None:
    """As a person may, who takes the checksum out."""
    record = json.loads((folder / "run.json").read_text("utf-8"))
    record.pop("sha256", None)
    (folder / "run.json").write_text(json.dumps({**record, **changes}), "utf-8")


def browse(page: Path, tmp_path: Path, width: int, *more: str) -> tuple[str, list[str]]:
    """What headless Chromium prints, and its console's lines."""
    assert CHROMIUM
    profile = tmp_path / f"profile-{width}-{len(more)}-{page.stem}"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-logging=stderr",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        f"--window-size={width},1400",
    ]
    done = subprocess.run(
        [CHROMIUM, *flags, *more, page.resolve().as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    log = done.stderr.decode("utf-8", "replace").splitlines()
    return done.stdout.decode("utf-8", "replace"), [line for line in log if "CONSOLE" in line]


PROBE = """<script>
const shown = [...document.querySelectorAll("figure svg")].map(svg => {
  const boxes = [...svg.querySelectorAll("path")].map(p => p.getBBox()).filter(b => b.width > 0 && b.height > 0);
  return boxes.length && svg.getBoundingClientRect().width > 50 ? boxes.length : 0;
});
const loaded = [...document.images].every(i => i.complete && i.naturalWidth > 0);
document.documentElement.dataset.probe = JSON.stringify({
  shown, loaded, wide: document.documentElement.scrollWidth - window.innerWidth,
  frames: document.querySelectorAll(".film figure:not([hidden])").length});
</script></body>"""


def probe(page: Path, tmp_path: Path, width: int) -> dict[str, object]:
    """Measures a copy of the page in the browser; its console must be silent."""
    copy = tmp_path / "probed.html"
    copy.write_text(page.read_text("utf-8").replace("</body>", PROBE), "utf-8")
    dom, console = browse(copy, tmp_path, width, "--dump-dom")
    assert console == []
    match = re.search(r'data-probe="([^"]*)"', dom)
    assert match
    return dict(json.loads(html.unescape(match[1])))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [520, 1280])
def test_browser_shows_the_report(run_folder: Path, tmp_path: Path, width: int) -> None:
    run = Run.load(run_folder)
    for step in (10, 20, 100):
        run.save_image(f"samples-{step}", Image.new("L", (40, 40), step))
    page = report(run_folder)
    seen = probe(page, tmp_path, width)
    assert len(seen["shown"]) >= 5 and min(seen["shown"]) > 0, "a figure is empty"  # type: ignore[call-overload, arg-type]
    assert seen["loaded"] and seen["frames"] == 1
    assert seen["wide"] <= 0, "the page is wider than the window"  # type: ignore[operator]
    browse(page, tmp_path, width, f"--screenshot={tmp_path / 'shot.png'}")
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("L"))
    assert pixels.std() > 10 and len(np.unique(pixels)) > 30, "the page is blank"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_console_error_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<script>nothing.here</script><body></body>", "utf-8")
    assert browse(page, tmp_path, 800, "--dump-dom")[1]


def test_report_holds_what_was_asked(run_folder: Path) -> None:
    text = report(run_folder).read_text("utf-8")
    run = Run.load(run_folder)
    result = run.result()
    assert result
    for value in result["metrics"].values():
        assert f"{value:.5g}" in text
    for words in (
        "431,080",
        "weight_decay",
        "momentum",
        "digits",
        "Beside the target",
        "0.009",
        "val_fraction",
        torch.__version__,
        run.record["hardware"],
        "Confusion matrix",
        "1318",
        "chainrule train lenet-caffe",
    ):
        assert html.escape(str(words)) in text, words
    assert "they do not compare" in text  # digits beside a figure for mnist
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert addresses and all(a.startswith(("data:", "#")) for a in addresses)


def test_curves_are_the_logged_values(run_folder: Path) -> None:
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    series = series_of(Run.load(run_folder))
    assert series["loss"] == ([n["step"] for n in lines if "loss" in n], [n["loss"] for n in lines if "loss" in n])
    assert [f.title for f in curve_figures(series)] == ["Loss", "Accuracy and error", "Learning rate"]


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_run_without_an_end(run_folder: Path, status: str) -> None:
    shutil.rmtree(run_folder / "checkpoint")
    (run_folder / "result.json").unlink()
    change_record(run_folder, status=status, reason="the disk is full" if status == "failed" else None)
    text = report(run_folder).read_text("utf-8")
    assert "<svg" in text and "no checkpoint yet" in text and "latest validation" in text
    assert ("the disk is full" if status == "failed" else "chainrule resume") in text


def test_run_that_wrote_nothing_yet(run_folder: Path) -> None:
    for name in ("metrics.jsonl", "result.json"):
        (run_folder / name).unlink()
    shutil.rmtree(run_folder / "checkpoint")
    assert "No line of metrics was written yet" in report(run_folder).read_text("utf-8")


def images(folder: Path, names: tuple[str, ...]) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            grey = (rng.integers(0, 90, (28, 28)) + 160 * (number == 0)).astype(np.uint8)
            Image.fromarray(grey).save(folder / name / f"{index}.png")
    return folder


def test_chinese_classes_and_data_that_are_gone(tmp_path: Path) -> None:
    data = images(tmp_path / "动物", ("猫", "狗"))
    run = chainrule.train(
        "lenet-caffe", data=str(data), epochs=1, batch_size=4, out=tmp_path / "r", device="cpu", val_fraction=0.3
    )
    text = (run.folder / "report.html").read_text("utf-8")
    assert re.search(r"<text[^>]*>猫</text>", text), "class names stay text, for the browser to set"
    shutil.rmtree(data)
    text = report(run.folder).read_text("utf-8")
    assert "left out" in text and "Confusion matrix" not in text and "Loss" in text


def test_comparison(run_folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = lenet_run(tmp_path_factory, seed=1)
    text = report(run_folder, other, out=tmp_path / "both.html").read_text("utf-8")
    values = [r["metrics"]["error"] for r in (Run.load(run_folder).result(), Run.load(other).result()) if r]
    assert f"{statistics.fmean(values):.5g}" in text and f"{statistics.stdev(values):.5g}" in text
    assert "a-run" in text and "seed-1" in text and "validation error" in text
    third = shutil.copytree(other, tmp_path / "third")
    change_record(third, settings={**Run.load(other).record["settings"], "lr": 0.125})
    text = report(run_folder, third).read_text("utf-8")
    assert "<th" in text and ">lr</th>" in text and "0.125" in text and "Over seeds" not in text
    assert (tmp_path / "comparison.html").is_file()


def test_no_runs() -> None:
    with pytest.raises(UserError, match="nothing to report on"):
        report()
    with pytest.raises(UserError, match="no run folder"):
        report("nowhere")


def test_an_experiment_has_no_test_split_and_no_network_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matplotlib.figure.Figure.get_layout_engine", lambda figure: None)  # its words are read
    settings = get_recipe("saddle-escape").tiny
    run = chainrule.train("saddle-escape", out=tmp_path / "run", device="cpu", **settings)
    text = (run.folder / "report.html").read_text("utf-8")
    assert "of measuring" in text and ">parameters</span>" not in text and ">test " not in text
    metrics = run.result()["metrics"]  # type: ignore[index]
    assert text.count('class="tile"') == 6 and f"All {len(metrics)} numbers" in text  # five, and the time


def test_what_was_tried_is_a_table_and_no_curve(tmp_path: Path) -> None:
    run = chainrule.train("ridge", alpha=(0.1, 10.0, 1e6), out=tmp_path / "run", device="cpu")
    assert [line["candidate"] for line in run.log_lines()] == [0, 1, 2] and not series_of(run)
    text = (run.folder / "report.html").read_text("utf-8")
    assert "What was tried" in text and "<h2>Curves</h2>" not in text and "Kept for its validation mse." in text
    rows = re.findall(r"<tr><td>([^<]*)</td>(.*?)</tr>", text.partition("What was tried")[2].partition("</table>")[0])
    best = min(run.log_lines(), key=lambda line: line["val_mse"])
    assert [float(alpha) for alpha, rest in rows if ">kept<" in rest] == [best["alpha"]]


def test_films_are_in_order_and_few(tmp_path: Path) -> None:
    for step in (9, 10, 200, *range(1000, 1100)):
        Image.new("L", (2, 2)).save(tmp_path / f"samples-{step}.png")
    Image.new("L", (2, 2)).save(tmp_path / "kernels.png")
    found = {film["name"]: film for film in films(tmp_path)}
    labels = [int(frame["label"].replace(",", "")) for frame in found["samples"]["frames"]]
    assert labels == sorted(labels) and labels[-1] == 1099 and len(labels) <= 40
    assert len(labels) + found["samples"]["left_out"] == 103 and len(found["kernels"]["frames"]) == 1


def test_command_of_a_python_call() -> None:
    record = {
        "recipe": "lenet-caffe",
        "command": None,
        "seed": 3,
        "common": {"log_every": 50},
        "settings": {"epochs": 2, "lr": 0.01},
        "data": {"source": "my data", "target": None},
    }
    assert command_of(record) == "chainrule train lenet-caffe epochs=2 --data 'my data' --seed 3"


def test_a_given_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bin/chainrule", "train", "lenet5", "epochs=2", "--data", "my data"])
    assert circumstances()["command"] == "chainrule train lenet5 epochs=2 --data 'my data'"


def test_confusion_matrix_counts() -> None:
    svg = figures.confusion_matrix(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 1, 1]), ["甲", "<b>"]).svg
    assert svg and re.findall(r"<text[^>]*>([^<]*)</text>", svg)[:3].count("3") <= 1
    cells = [t for t in re.findall(r"<text[^>]*>([^<]*)</text>", svg) if t.isdigit()]
    assert sorted(cells) == ["1", "1", "3"] and "<b>" not in svg


def test_curves_survive_hostile_values() -> None:
    nan, inf = float("nan"), float("inf")
    for series in (
        {"a": ([1, 2], [nan, inf])},
        {"a": ([], [])},
        {},
        {"a": ([0], [0.0])},
        {"猫": ([1, 2], [1e-9, 1e9])},
    ):
        assert "<svg" in (figures.curves(series, "t").svg or "")
    spike = np.ones(100_000)
    spike[50_001] = 1e6
    assert figures.thin(range(100_000), spike)[1].max() == 1e6


def test_figure_escapes_its_table() -> None:
    from chainrule.core.task import Figure

    assert "<script>" not in figure(Figure("<script>", table=[["<script>"], ["<script>"]]))


def _rows(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("|") and "`" in line]


def _notes(page: str) -> list[str]:
    """What is folded below the tables, a text a row."""
    return [" ".join(note.split()) for note in re.split(r"\n\*\*\d+\. .*\*\*\n", page)[1:]]


def test_ledger(run_folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = lenet_run(tmp_path_factory, seed=1)
    page = tmp_path / "docs" / "results.md"
    ledger.write_ledger([run_folder], page)
    assert " ± " not in _rows(page.read_text("utf-8"))[0]
    ledger.write_ledger([other], page)  # the first run's row is kept, though it is not named again
    ledger.write_ledger([other], page)  # and a run that is named again is not counted twice
    text = page.read_text("utf-8")
    (row,), (note,) = _rows(text), _notes(text)
    errors = [r["metrics"]["error"] for r in (Run.load(run_folder).result(), Run.load(other).result()) if r]
    error = f"error {statistics.fmean(errors):.4g} ± {statistics.stdev(errors):.2g}"
    assert "## Image classification" in text and row.startswith(f"| 1 | `lenet-caffe` | digits | {error} |  | 2 | ")
    assert "`chainrule train lenet-caffe epochs=1" in note and "(seeds 0, 1)" in note and "indices" not in note
    assert "*Published:*" not in note and "Caffe" not in note  # that figure is for other data
    assert "*Also:* accuracy " in note and "*Measured:* validation split" in note
    assert text.count("<details>") == text.count("</details>") == 1 and max(map(len, text.splitlines())) < 300
    change_record(run_folder, settings={**Run.load(run_folder).record["settings"], "lr": 0.5})
    ledger.write_ledger([run_folder], page)
    assert [file.name for file in page.with_suffix("").iterdir()] == ["image-classification.json"]
    assert len(ledger.read_entries(page.with_suffix(""))) == 3
    assert len(_rows(page.read_text("utf-8"))) == 2
    assert str(tmp_path) not in page.read_text("utf-8") and "a lossy copy" not in page.read_text("utf-8")
    ledger.write_ledger([other], page, {"digits": "a lossy copy", "mnist": "none of these runs has it"})
    ledger.write_ledger([], page)
    assert page.read_text("utf-8").count("*Data:* a lossy copy") == 1


def test_ledger_keeps_the_curve_of_a_training(tmp_path: Path) -> None:
    run = chainrule.train("mlp-table", out=tmp_path / "run", device="cpu", epochs=60, patience=0)
    curve = ledger.entry_of(run)["curve"]
    measured = [(line["step"], line["val_loss"]) for line in run.log_lines() if "val_loss" in line]
    points = list(zip(curve["steps"], curve["values"], strict=True))
    assert curve["metric"] == "val_loss" and len(points) == 40 < len(measured)
    assert [(s, pytest.approx(v, rel=1e-3)) for s, v in (measured[0], measured[-1])] == [points[0], points[-1]]


def test_ledger_names_the_published_figure(run_folder: Path) -> None:
    entry = {**ledger.entry_of(Run.load(run_folder)), "data": "mnist"}
    page = render([entry])
    assert re.search(r"\| mnist \| error [\d.]+ \| 0\.009 \| 1 \|", page)
    assert "*Published:* error 0.009, Caffe, examples/mnist" in page


def test_ledger_keeps_runs_of_recipes_that_are_gone(run_folder: Path, tmp_path: Path) -> None:
    page, gone = tmp_path / "results.md", {**ledger.entry_of(Run.load(run_folder)), "recipe": "lenet-1989"}
    store = tmp_path / "results"
    store.mkdir()
    (store / "old-name.json").write_text(json.dumps({"format": 1, "runs": [gone]}), "utf-8")
    ledger.write_ledger([run_folder], page)
    assert {file.name for file in store.iterdir()} == {"other.json", "image-classification.json"}
    assert "## Other" in page.read_text("utf-8") and "`lenet-1989`" in page.read_text("utf-8")


def test_ledger_makes_one_row_of_the_folds(run_folder: Path) -> None:
    one = ledger.entry_of(Run.load(run_folder))
    folds = [
        {**one, "settings": {**one["settings"], "folds": 3, "fold": fold}, "metrics": {"error": fold / 10}}
        for fold in (3, 1, 2)
    ]
    whole = {**one, "settings": {**one["settings"], "folds": 0, "fold": 1}}  # no folds: fold says nothing
    page = render([*folds, whole])
    assert len(_rows(page)) == 2
    assert any("error 0.2 ± 0.1 |  | 3 |" in row for row in _rows(page))
    assert any("(seed 0, folds 1, 2, 3)" in note for note in _notes(page))


def test_ledger_of_ten_seeds_tells_median_and_range(run_folder: Path) -> None:
    """And on which vector instructions the runs ran, where their records say so."""
    one = ledger.entry_of(Run.load(run_folder))
    assert one["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    old = {key: value for key, value in one.items() if key != "cpu_capability"}
    errors = [0.1] * 4 + [0.2] * 2 + [0.3] * 3 + [0.9]
    runs = [{**old, "seed": seed, "metrics": {"error": error}} for seed, error in enumerate(errors)]
    assert any("error 0.26 ± 0.24, median 0.2, 0.1 to 0.9 |" in row for row in _rows(render(runs)))
    assert any("error 0.1889 ± 0.093 |" in row for row in _rows(render(runs[:9])))
    machine = next(note for note in _notes(render([{**one, "cpu_capability": "AVX2"}])) if "Machine" in note)
    assert ", AVX2; commit" in machine


def test_ledger_says_what_is_wrong(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ending in \.md"):
        ledger.write_ledger([run_folder], tmp_path / "results.txt")
    (run_folder / "result.json").unlink()
    with pytest.raises(UserError, match="not done"):
        ledger.write_ledger([run_folder], tmp_path / "results.md")
    (tmp_path / "results").mkdir(exist_ok=True)
    (tmp_path / "results" / "vision.json").write_text("{", "utf-8")
    with pytest.raises(UserError, match="damaged"):
        ledger.write_ledger([], tmp_path / "results.md")
