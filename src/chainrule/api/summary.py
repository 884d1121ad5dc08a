"""What is told of a run: its networks, and the object that `--json` prints."""

from __future__ import annotations

from typing import Any

from chainrule.core.task import HasNumParameters
from chainrule.run.run import Run


def model_name(run: Run) -> str | None:
    """The name of the run's model, None for a study."""
    return run.recipe.model_for(run.record["settings"])


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
    why = f", for its {best['metric']} {best['value']:.4g}" if best else ", the last: nothing was held out to choose by"
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
