"""What is told of a run: its networks, and the object that `--json` prints."""

from __future__ import annotations

from typing import Any

from chainrule.core.files.standard_streams import say
from chainrule.core.task import HasNumParameters
from chainrule.run.checkpoint.folder import latest_step
from chainrule.run.run import Run
from chainrule.run.weights.learnt import best_name


def model_name(run: Run) -> str | None:
    """The name of the run's model, None for a study."""
    return run.recipe.model_for(run.record["settings"])


def unfinished(run: Run) -> str | None:
    """What must be known of a run that has not ended before its answers are believed; None of one that has.

    Where it stands, and which of its weights answer: those that the validation has chosen so far, else the latest.
    """
    status = run.record["status"]
    if status == "done":
        return None
    words = {"running": "it runs, or it was killed", "interrupted": "it was stopped", "failed": "it failed"}
    step, total = latest_step(run.folder), run.record.get("planned_steps")
    place = "no step was saved" if step is None else f"step {step:,}" + (f" of {total:,}" if total else "")
    best = (run.folder / best_name("")).is_file()
    weights = "its best so far" if best else "its latest weights"
    return f"{run.folder} has not ended ({words.get(status, status)}): {place}; {weights} answer"


def tell_unfinished(run: Run) -> None:
    """Says so on stderr where a run that is asked has not ended."""
    if (words := unfinished(run)) is not None:
        say(f"{words}\n  cure:     chainrule resume {run.folder}")


def count_parameters(run: Run) -> int:
    """Trainable parameters of the run's networks; where there are none, the numbers that were estimated."""
    modules = run.task.modules().values()
    trainable = sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
    return trainable or sum(m.num_parameters for m in modules if isinstance(m, HasNumParameters))


def ended_in_words(run: Run) -> list[str]:
    """Which epoch was kept, and whether training stopped early, in one line; none for what has no epochs."""
    ending, best = run.ending, run.best
    if not ending:
        return []
    kept, made, asked = ending["kept_epoch"], ending["epochs"], ending["of_epochs"]
    why = f", for its {best['metric']} {best['value']:.4g}" if best else ", the last: no validation chose"
    early = (
        f"stopped early, after epoch {made} of {asked}" if ending["stopped_early"] else f"all {made} epochs were made"
    )
    return [f"kept epoch {kept}{why}; {early}"]


def summary(run: Run, metrics: dict[str, float] | None = None) -> dict[str, Any]:
    """The object that `--json` prints."""
    result = run.result() or {}
    return {
        "run": str(run.folder),
        "recipe": run.recipe.name,
        "metrics": metrics or result.get("metrics", {}),
        "seconds": result.get("seconds"),
        "parameters": count_parameters(run),
        "device": str(run.device),
    }
