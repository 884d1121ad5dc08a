"""Chainrule: `train` with its run folder, metrics, checkpoints and report; all of that is in the seconds.

CHAINRULE_AUTOCAST says in which dtype it multiplies: no is float32, yes bfloat16, auto as the recipe's rule decides.
"""

from image_task import Clock, arguments, report

clock = Clock()
import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from chainrule import api  # noqa: E402
from chainrule.reporting import report as report_page  # noqa: E402

import_s = clock.lap()
given = arguments()
task = given.task

inside = {"report_s": 0.0}
write_report = report_page.write_report


def timed_report(*words, **named):
    own = Clock()
    try:
        return write_report(*words, **named)
    finally:
        inside["report_s"] += own.lap()


report_page.write_report = timed_report
recipe = {"lenet": "lenet-caffe", "resnet20": "resnet20"}[given.name]
settings = {} if task.cosine else {"lr_drops": (), "augment": False}
with tempfile.TemporaryDirectory() as place:
    run = api.train(
        recipe,
        data=str(given.folder),
        out=Path(place) / "run",
        device="cpu",
        autocast=os.environ.get("CHAINRULE_AUTOCAST", "auto"),
        epochs=given.epochs,
        batch_size=task.batch_size,
        lr=task.lr,
        momentum=task.momentum,
        weight_decay=task.weight_decay,
        val_fraction=task.held_out,
        **settings,
    )
    result = run.result()
report(import_s, clock.lap(), result["metrics"]["accuracy"], result["parameters"], **inside)
