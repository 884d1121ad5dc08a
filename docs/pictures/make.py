"""Makes the pictures of this folder: `python docs/pictures/make.py` after `make demo`, with Chromium installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from chainrule.run.run import Run

HERE = Path(__file__).parent


def digits(run: Run) -> None:
    """The first test pictures of two classes, as files to predict from."""
    split = run.system.data.test  # type: ignore[attr-defined]
    for label in (3, 5):
        index = int((split.y == label).nonzero()[0, 0])
        x = split.x[index, 0]
        border = (x.shape[0] - 28) // 2  # LeNet-5 reads 32 x 32 with a border; a file has none
        Image.fromarray(x[border : border + 28, border : border + 28].numpy()).save(HERE / f"digit-{label}.png")


def screenshot(report: Path, out: Path) -> None:
    """The top of a report in headless Chromium, with few colours so that the file is small."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Chromium is not installed")
    command = [
        browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1.5",
        "--window-size=1000,1150", f"--screenshot={out}", report.resolve().as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    Image.open(out).convert("RGB").quantize(96).save(out, optimize=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/lenet5")
    digits(Run.load(folder))
    screenshot(folder / "report.html", HERE / "report.png")
