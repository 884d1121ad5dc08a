"""The observations that `predict` was asked about."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.inputs import STDIN, Asked, InMemory, asked_of, files_below, is_folder, stdin_table, table_parts
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.formats.table_files import READERS, table_ending
from chainrule.systems.reinforcement.environments import EnvironmentSpec
from chainrule.systems.reinforcement.spaces import DiscreteSpace, Space


def asked_observations(inputs: Iterable[str], spec: EnvironmentSpec) -> Iterator[Asked[Tensor]]:
    """Observations as the agent has them, float32 (D,) or int64 (), and what an answer calls each.

    An input is an observation such as 0.1,0,-0.02,0, a table with columns obs_0, obs_1, ... (obs, where they are
    discrete), as `generate` writes it, a folder of such tables, or `-` for rows on stdin, with or without these names.
    """
    columns = column_names(spec.observations)
    for text in inputs:
        if isinstance(text, InMemory):
            yield Asked(str(text), _observation(text.value, spec, text))
        elif text == STDIN:
            yield from (a for cells in stdin_table(columns, columns) for a in _in_cells(cells, columns, spec))
        elif is_folder(text):
            yield from asked_observations(map(str, files_below(Path(text), READERS, "table")), spec)
        elif table_ending(Path(text)):
            yield from (a for cells in table_parts(Path(text)) for a in _in_cells(cells, columns, spec))
        else:
            yield Asked(text, _observation(text.split(","), spec, text))


def column_names(space: Space) -> list[str]:
    """The columns of a table of observations.

    >>> column_names(DiscreteSpace(3))
    ['obs']
    """
    return ["obs"] if isinstance(space, DiscreteSpace) else [f"obs_{i}" for i in range(math.prod(space.shape))]


def _in_cells(cells: Cells, columns: list[str], spec: EnvironmentSpec) -> Iterator[Asked[Tensor]]:
    missing = [name for name in columns if name not in cells.header]
    if missing:
        raise UserError(
            "the table lacks columns of an observation",
            where=cells.origin,
            expected=", ".join(missing[:10]),
            found=", ".join(cells.header[:10]),
        )
    places = [cells.header.index(name) for name in columns]
    for index, row in enumerate(cells.rows):
        obs = _observation([row[place] for place in places], spec, cells.where(index))
        yield asked_of(cells, index, obs, columns)


def _observation(cells: list[str], spec: EnvironmentSpec, where: str) -> Tensor:
    space = spec.observations
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        row = []
    if isinstance(space, DiscreteSpace):
        number = row[0] - space.start if len(row) == 1 else -1.0
        if number not in range(space.n):
            raise UserError(
                "the observation cannot be read",
                where=where,
                expected=f"a whole number from {space.start} to {space.start + space.n - 1}, as {spec.id} gives it",
                found=", ".join(cells),
            )
        return torch.tensor(int(number))
    size = math.prod(space.shape)
    if len(row) != size or not all(map(math.isfinite, row)):
        raise UserError(
            "the observation cannot be read",
            where=where,
            expected=f"{size} comma-separated numbers, as {spec.id} gives them",
            found=f"{len(row)} numbers" if row else "text that is not numeric",
        )
    return torch.tensor(row).reshape(space.shape)
