"""Rows of a table into a density: a mixture that says how probable a row is, and which component it came from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from chainrule.core.answers import Scores
from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.seeds import in_64_bits
from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to
from chainrule.data.layout import Place
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.new_rows import asked_rows, read_other, rows_to_compare
from chainrule.data.tables.row_encoder import RawRowModel
from chainrule.data.tables.spec import TableSpec, kept_columns, original_rows
from chainrule.run.run import Run
from chainrule.systems.graphical.em import em
from chainrule.tasks.tables import density_figures

Choice = Literal["bic", "aic", "validation"]
CRITERIA = {"bic": "bic", "aic": "aic", "validation": "val_nll_nats"}
SHOWN_ROWS = 2000  # of the scatter
SHOWN_COLUMNS = 12  # of the table of means


class Mixture(Protocol):
    """What the system asks of its model, a module whose `forward` gives log p(x) (N,) of rows (N, D)."""

    @property
    def num_components(self) -> int: ...

    weights: Tensor
    means: Tensor

    def start(self, x: Tensor, num_components: int, generator: torch.Generator) -> None: ...
    def expectation(self, x: Tensor, world: World = ...) -> Any: ...
    def maximisation(self, statistics: Any) -> None: ...
    def log_prob(self, x: Tensor) -> Tensor: ...
    def responsibilities(self, x: Tensor) -> Tensor: ...
    def log_joint(self, x: Tensor) -> Tensor: ...
    def covariance_matrices(self) -> Tensor: ...
    def criteria(self, x: Tensor, world: World = ...) -> dict[str, float]: ...
    def sample(self, count: int) -> tuple[Tensor, Tensor]: ...


class MixtureDensity:
    """A mixture of densities over the rows of a table, estimated by EM.

    Log-densities are those of the standardised columns; in the units of the table they are smaller by the sum of the
    logarithms of the columns' deviations.

    Args:
        run: the run it belongs to.
        data: what `load_table` gave.
        model: the mixture, a module.
        candidates: numbers of components to try, one for each start of EM.
        choose: the criterion that chooses among the starts: bic or aic of the training split, or the validation
            split's density.
        max_iterations, tolerance: where EM ends, as `em` has them.
        dtype: of the rows in the E-step; parameters and sums have the model's.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[TableSpec, TableSplit],
        model: Mixture,
        candidates: Sequence[int],
        choose: Choice,
        max_iterations: int,
        tolerance: float,
        dtype: torch.dtype,
    ) -> None:
        self.run, self.data, self.model, self.candidates = run, data, model, list(candidates)
        self.choose, self.max_iterations, self.tolerance, self.dtype = choose, max_iterations, tolerance, dtype

    def modules(self) -> dict[str, nn.Module]:
        assert isinstance(self.model, nn.Module)
        return {"model": self.model}

    def train(self, run: Run) -> None:
        x = self.data.train.x.to(run.device, self.dtype)
        val = self._rows(self.data.val.x)
        given = bool(run.record.get("weights"))
        if given and set(self.candidates) != {self.model.num_components}:
            raise UserError(
                "the weights to start from have another number of components",
                expected=sorted(set(self.candidates)),
                found=self.model.num_components,
                cure=f"components={self.model.num_components}",
            )

        def start(number: int) -> None:
            if not given:
                generator = torch.Generator().manual_seed(in_64_bits(run.seed * len(self.candidates) + number))
                self.model.start(x, self.candidates[number], generator)

        def measure() -> dict[str, float]:
            found = {"components": self.model.num_components, **self.model.criteria(x, run.world)}
            return {**found, "val_nll_nats": -float(self._log_prob(val).mean())} if len(val) else found

        em(
            run,
            model=self.model,
            modules=self.modules(),
            x=x,
            starts=len(self.candidates),
            start=start,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            measure=measure,
            choose_by=(CRITERIA[self.choose], True),
        )

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        """Mean negative log-density of a row, of the standardised columns and in the table's units; BIC of the rows."""
        target = self.run.data.target
        rows = self.data.test.x if data is None else read_other(data, target, self.data.spec)
        self.measured, x = TableSplit(rows, None), self._rows(rows)
        nll = -float(self._log_prob(x).mean())
        return {
            "nll_nats": nll,
            "nll_nats_in_units": nll + self._log_scale(),
            "bic": self.model.criteria(x, self.run.world)["bic"],
            "components": self.model.num_components,
        }

    def protocol(self) -> str:
        by = {
            "bic": "the Bayesian information criterion on the training split",
            "aic": "Akaike's criterion on the training split",
            "validation": f"the density of the validation split ({self.data.spec.splits['val']})",
        }[self.choose]
        low, high = min(self.candidates), max(self.candidates)
        among = f"among {low} to {high} components, " if high > low else f"of {low} components "
        scale = "standardised columns" if self.data.spec.standardized else "columns in their own units"
        dropped = self.data.spec.dropped
        without = f", without {len(dropped)} constant on the training split ({', '.join(dropped)})" if dropped else ""
        chose = f"{by} chose {among}{len(self.candidates)} starts in all; " if len(self.candidates) > 1 else ""
        return (
            f"{chose}test split ({self.data.spec.splits['test']}) measured once, at the end; "
            f"nll_nats is of {scale}{without}"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (torch.zeros(1, len(self.data.spec.mean), device=self.run.device),)}

    def predict(self, inputs: Iterable[str], out: Path | None) -> Iterator[dict[str, Any]]:
        """The most probable component of each row, the log-density of the row, and the responsibility of each component."""
        for part, x in asked_rows(inputs, self.data.spec, self.run.data.options):
            with torch.inference_mode():
                log_density = self.model.log_prob(self._rows(x)).tolist()
                shares = self.model.responsibilities(self._rows(x))  # (b, K)
            best = shares.argmax(1).tolist()
            for asked, k, row, value in zip(part, best, shares.tolist(), log_density, strict=True):
                every = Scores({str(i): round(share, 6) for i, share in enumerate(row)}, by="responsibility")
                answer = {"component": k, "responsibility": every[str(k)], "log_density_nats": round(value, 6)}
                yield answer_to(asked, {**answer, "responsibilities": every})

    @torch.inference_mode()
    def generate(self, count: int, out: Path) -> list[dict[str, Any]]:
        """Rows in the table's units, written to samples.csv, and to samples.png where they are images."""
        x, component = self.model.sample(count)
        rows, columns = original_rows(x, self.data.spec), self.data.spec.columns
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows.tolist())
        with atomic.explain_os_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        atomic.write_text(out / "samples.csv", text.getvalue())
        if self.data.spec.image:
            height, width = self.data.spec.image
            atomic.write_bytes(out / "samples.png", density_figures.pixels_png(rows, (height, width), high=16.0))
        return [
            {"component": k, **dict(zip(columns, (round(v, 6) for v in row), strict=True))}
            for k, row in zip(component.tolist(), rows.tolist(), strict=True)
        ]

    def deployable(self) -> Deployable:
        """Rows as the table has them into log-density and responsibilities, both as `predict` gives them."""
        spec = self.data.spec
        columns = spec.columns
        module = RawRowModel(DensityAndComponents(self.model), spec, torch.float64).cpu().eval()
        rows = original_rows(self.data_like(64).cpu(), spec)
        return Deployable(
            module,
            lambda count: (rows[torch.randint(len(rows), (count,))],),
            ("rows",),
            ("log_density_nats", "responsibilities"),
            {
                "rows": f"float64 (B, {len(columns)}), in the table's units",
                "columns": columns,
                "log_density_nats": "of the standardised columns; subtract log_scale_nats for the table's units",
                "log_scale_nats": self._log_scale(),
            },
            lambda: (rows_to_compare(self.run.data, spec),),
        )

    @torch.inference_mode()
    def data_like(self, count: int) -> Tensor:
        """Rows drawn from the mixture on the scale of x, without touching the global random state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.run.seed)
            return self.model.sample(count)[0]

    @torch.inference_mode()
    def figures(self) -> list[Figure]:
        spec, x = self.data.spec, self.data.train.x.double()
        shown = x[:: max(1, len(x) // SHOWN_ROWS)]
        component = self.model.responsibilities(self._rows(shown)).argmax(1).cpu()
        means = self.model.means.cpu().double()
        if x.shape[1] > 1:
            matrices = self.model.covariance_matrices().cpu().double()
            unit = "standardised columns" if spec.standardized else "in the table's units"
            found = [density_figures.mixture_scatter(shown, component, means, matrices, unit)]
        else:
            grid = torch.linspace(float(x.min()) - 0.5, float(x.max()) + 0.5, 400).double()
            density = self.model.log_prob(self._rows(grid[:, None])).exp().cpu()
            found = [density_figures.mixture_curve(x[:, 0], grid, density, kept_columns(spec)[0])]
        found.append(self._means_figure(original_rows(means, spec)))
        if spec.classes:
            found.append(self._classes_figure())
        lines = [line for line in self.run.log_lines() if CRITERIA[self.choose] in line]
        counts = [int(line["components"]) for line in lines]
        if len(set(counts)) > 1:
            name = CRITERIA[self.choose]
            chosen = self.model.num_components
            found.append(density_figures.criterion_curve(counts, [line[name] for line in lines], name, chosen))
        return found

    def _means_figure(self, rows: Tensor) -> Figure:
        spec = self.data.spec
        weights = [f"{w:.3f}" for w in self.model.weights.tolist()]
        if spec.image:
            height, width = spec.image
            titles = [f"{k}: {w}" for k, w in enumerate(weights)]
            return density_figures.image_grid(
                rows, (height, width), titles, "Means", "The mean of each component, with its number and weight."
            )
        columns = spec.columns[:SHOWN_COLUMNS]
        table = [["component", "weight", *columns]]
        table += [
            [str(k), weights[k], *(f"{v:.4g}" for v in row[: len(columns)])] for k, row in enumerate(rows.tolist())
        ]
        rest = len(spec.columns) - len(columns)
        more = f" The first {len(columns)} columns; {rest} more are not shown." if rest else ""
        return Figure("Means", f"The mean of each component in the table's units.{more}", table=table)

    def _classes_figure(self) -> Figure:
        classes, y = self.data.spec.class_names, self.data.test.y
        assert y is not None
        component = self.model.responsibilities(self._rows(self.data.test.x)).argmax(1).cpu()
        count = torch.zeros(self.model.num_components, len(classes), dtype=torch.int64)
        count.index_put_((component, y), torch.ones_like(y), accumulate=True)
        table = [["component", *classes], *([str(k), *map(str, row)] for k, row in enumerate(count.tolist()))]
        return Figure(
            "Components and classes", "Test rows of each class, which EM never saw, by component.", table=table
        )

    def _rows(self, x: Tensor) -> Tensor:
        """Rows where the model is, in its dtype."""
        return x.to(self.run.device, self.model.means.dtype)

    def _log_prob(self, x: Tensor) -> Tensor:
        """log p(x) (N,) of rows (N, D); several processes share them."""
        return self.run.world.map_rows(self.model.log_prob, x)

    def _log_scale(self) -> float:
        """What the standardised columns' log-density exceeds that in the table's units by."""
        return float(torch.tensor(self.data.spec.std, dtype=torch.float64).log().sum())


class DensityAndComponents(nn.Module):
    """Rows (B, D) to log p (B,) and responsibilities (B, K), as float32.

    Inside it is float64, as the model is: precisions span many powers of ten.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        joint = self.model.log_joint(x)
        total = joint.logsumexp(1)
        return total.float(), (joint - total[:, None]).exp().float()
