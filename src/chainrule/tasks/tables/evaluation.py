"""How models over rows of a table are evaluated and deployed: the protocol of selection and test, the exported module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.task import Deployable
from chainrule.data.spec import Spec
from chainrule.data.tables.new_rows import rows_to_compare
from chainrule.data.tables.row_encoder import RawRowModel
from chainrule.data.tables.spec import TableSpec
from chainrule.run.run import Run

EVALUATION_BATCH = 4096


def evaluate_rows(run: Run, model: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    """The model's answers (N, ...), on the CPU, to any number of rows x (N, D); several processes share them."""

    def answers(x: Tensor) -> Tensor:
        return torch.cat([model(part.to(run.device, dtype)).cpu() for part in x.split(EVALUATION_BATCH)])

    return run.world.map_rows(answers, x)


def selection_protocol(run: Run, spec: Spec, how: str) -> str:
    """A sentence: which split chose what, which measured, and `how` there is to add."""
    made, chosen = spec.splits, run.best
    chose = "no choice was made; "
    if chosen is not None:
        what = "epoch" if "epochs" in run.record["settings"] else "settings"
        chose = f"validation split ({made['val']}) chose the {what} by its {chosen['metric'].removeprefix('val_')}; "
    return f"{chose}test split ({made['test']}) measured once, at the end" + (f"; {how}" if how else "")


def deployable_row_model(
    module: nn.Module, run: Run, spec: TableSpec, dtype: torch.dtype, output: str, notes: dict[str, Any]
) -> Deployable:
    """A module over features as one over rows as the run's table has them: encoded and scaled inside."""
    whole = RawRowModel(module, spec, dtype).cpu().eval()
    categories = {name: list(values) for name, values in spec.categories.items()}
    return Deployable(
        whole,
        whole.random_rows,
        ("rows",),
        (output,),
        {
            "rows": f"float64 (B, {len(spec.columns)}), in the table's units, a category by its number, nan where missing",
            "columns": spec.columns,
            **({"categories": categories} if categories else {}),
            **notes,
        },
        lambda: (rows_to_compare(run.data, spec),),
    )
