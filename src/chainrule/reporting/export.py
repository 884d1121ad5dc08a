"""`chainrule export`: one file to deploy, as ONNX or as a PyTorch program, compared with the model before it is kept."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import ChainruleError, RunFailed, UserError, missing_extra
from chainrule.core.files import atomic
from chainrule.core.files.finite_json import to_json
from chainrule.core.files.partials import partial_beside
from chainrule.core.task import Deployable
from chainrule.run.folder.folder import expect_own
from chainrule.run.run import Run

BATCHES = (1, 2, 7)
_LARGEST_FILE = 2**31 - 1  # of a protobuf, which an ONNX file is

Answer = Callable[[tuple[Tensor, ...]], list[Tensor]]


def export_system(deployable: Deployable, to: str, out: Path | None, run: Run) -> dict[str, Any]:
    """Writes the file and gives its name, the largest relative difference from the model, and the batches compared.

    It is compared on random inputs and, where the data are at hand, on `own_samples` of the data's own, as `predict` reads
    them.

    The batch is free. The names of inputs, outputs and classes lie in the file: `metadata_props["chainrule"]` of ONNX,
    the extra file `chainrule.json` of a PyTorch program.

    Args:
        deployable: what the system offers.
        to: onnx or torch.
        out: the file, or a folder for it; RUN/export/model.onnx or .pt2 by default.
        run: the run it comes from.

    Raises:
        UserError: where the packages that ONNX needs are missing.
        RunFailed: where the module cannot be exported, or the file answers otherwise; then no file is left.
    """
    writers = {"onnx": (_write_onnx, _open_onnx, "model.onnx"), "torch": (_write_torch, _open_torch, "model.pt2")}
    if to not in writers:
        raise UserError("there is no such format", expected=" or ".join(writers), found=to)
    write, open_file, name = writers[to]
    if to == "onnx":
        for package in ("onnx", "onnxruntime", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise missing_extra(package, "onnx")
    place = out or expect_own(run.folder / "export") / name
    place = place / name if place.is_dir() else place
    notes = {
        "recipe": run.record["recipe"],
        "commit": run.record["commit"],
        "inputs": list(deployable.input_names),
        "outputs": list(deployable.output_names),
        **deployable.notes,
    }
    with atomic.explain_os_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with partial_beside(place, place.suffix) as partial:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(run.seed)
                with _told(to):
                    write(deployable, partial, notes)
                    answer = open_file(partial, deployable)
                own = _own_inputs(deployable)
                difference = _compare(deployable, answer, to, own)
            atomic.sync_file(partial)
            partial.replace(place)
    atomic.sync_folder(place.parent)
    return {
        "file": str(place),
        "largest_difference": difference,
        "batches": list(BATCHES),
        "own_samples": len(own[0]) if own else 0,
        "tolerance": deployable.tolerance,
    }


def _free(deployable: Deployable, inputs: tuple[Tensor, ...]) -> tuple[dict[int, Any], ...]:
    """The axes of any size: the batch, and what the system names beside it."""
    batch = torch.export.Dim.AUTO if deployable.free_axes else torch.export.Dim("batch", min=1)
    return tuple({0: batch, **dict.fromkeys(deployable.free_axes, torch.export.Dim.AUTO)} for _ in inputs)


def _write_onnx(deployable: Deployable, file: Path, notes: dict[str, Any]) -> None:
    module, inputs = deployable.module, deployable.inputs(3)
    size = sum(t.numel() * t.element_size() for t in module.state_dict().values() if isinstance(t, Tensor))
    if size > _LARGEST_FILE:
        raise RunFailed(
            f"an ONNX file holds at most 2 GB and these weights are {size / 1e9:.1f} GB; --to torch has no such bound"
        )
    program = torch.onnx.export(
        module,
        inputs,
        dynamo=True,
        dynamic_shapes=_free(deployable, inputs),
        input_names=list(deployable.input_names),
        output_names=list(deployable.output_names),
        verbose=False,
    )
    if program is None:
        raise RunFailed("the exporter gave no program")
    program.model.metadata_props["chainrule"] = to_json(notes)
    program.save(str(file), external_data=False)


def _open_onnx(file: Path, deployable: Deployable) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def answer(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        named = {name: value.numpy() for name, value in zip(deployable.input_names, inputs, strict=True)}
        return [torch.from_numpy(value) for value in session.run(list(deployable.output_names), named)]

    return answer


def _write_torch(deployable: Deployable, file: Path, notes: dict[str, Any]) -> None:
    inputs = deployable.inputs(3)
    program = torch.export.export(deployable.module, inputs, dynamic_shapes=_free(deployable, inputs))
    torch.export.save(program, file, extra_files={"chainrule.json": to_json(notes)})


def _open_torch(file: Path, deployable: Deployable) -> Answer:
    module = torch.export.load(file).module()
    return lambda inputs: _flat(module(*inputs))


def _own_inputs(deployable: Deployable) -> tuple[Tensor, ...] | None:
    """The data's own inputs, where the data are at hand, on the CPU."""
    if deployable.own is None:
        return None
    try:
        own = deployable.own()
    except UserError:  # the data are not here any more, or are others
        return None
    return tuple(x.cpu() for x in own) if all(len(x) for x in own) else None


def _compare(deployable: Deployable, answer: Answer, to: str, own: tuple[Tensor, ...] | None) -> float:
    """The largest difference at all batches and on the data's own samples, relative to the output's largest absolute value."""
    worst = 0.0
    module = deployable.module.eval()
    for inputs in [*map(deployable.inputs, BATCHES), *([own] if own else [])]:
        batch = len(inputs[0])
        with torch.no_grad():
            expected = _flat(module(*inputs))
        try:
            with torch.no_grad():
                found = answer(inputs)
        except Exception as error:  # the runtime's own kinds, which are many
            raise RunFailed(f"the {to} file does not run at a batch of {batch}: {_first_line(error)}") from error
        for name, theirs, ours in zip(deployable.output_names, found, expected, strict=True):
            if theirs.shape != ours.shape:
                raise RunFailed(
                    f"{name} of the {to} file has shape {tuple(theirs.shape)} at a batch of {batch}, the model's {tuple(ours.shape)}"
                )
            a, b = theirs.double(), ours.double()
            difference = (
                float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))
                if b.numel() and not torch.equal(a, b)
                else 0.0
            )
            if not difference <= deployable.tolerance:  # a nan is not
                raise RunFailed(
                    f"{name} of the {to} file differs from the model's by {difference:.2g} of its largest value "
                    f"at a batch of {batch}; {deployable.tolerance:g} is allowed, and no file is kept"
                )
            worst = max(worst, difference)
    return worst


@contextlib.contextmanager
def _told(to: str) -> Iterator[None]:
    """Keeps the exporters' chatter back; what stops them is told in a sentence."""
    chatter, quiet = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(chatter), contextlib.redirect_stderr(chatter):
            warnings.simplefilter("ignore")
            yield
    except (ChainruleError, OSError):
        raise
    except Exception as error:  # the exporters' own kinds, which are many
        raise RunFailed(f"the model cannot be exported to {to}: {_first_line(error)}") from error
    finally:
        logging.disable(quiet)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _flat(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [tensor for item in output for tensor in _flat(item)]


TOPICS = (
    Topic("Deployment of a network", "网络的部署", code=("export_system",), command="chainrule export RUN --to onnx"),
)
