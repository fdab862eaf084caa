"""Anything that runs images: a module in PyTorch, or a file in its runtime."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.api import files
from squeeze.api.inputs import classes_of, model_of, spec_of
from squeeze.api.results import ExportResult, QuantizeResult
from squeeze.api.training import task_of
from squeeze.core.errors import InputError
from squeeze.measure.target import size_bytes
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.pytorch.session import TorchSession
from squeeze.tasks import open_task
from squeeze.tasks.detection.task import Detection

if TYPE_CHECKING:
    from typing import TypeAlias

    from torch import nn

    from squeeze.api.inputs import Example, ModelLike
    from squeeze.runtimes.base import Session
    from squeeze.tasks.base import Task

    Runs: TypeAlias = "ModelLike | ExportResult | QuantizeResult"
    """A module, a result of another verb, a bundle's folder, or an exported file."""

_BATCH = 32
_LOGITS_RANK = 2


@dataclass(frozen=True)
class RunnableModel:
    """A loaded model.

    Attributes:
        session: To be closed.
        classes: How many it knows.
        batch_size: How many images it is best given at once; 1 where a file fixes that.
        files: The file; none of a module.
        module: None of a file.
        decodes: Whether a detector's outputs still have to be decoded.
        notes: What its description makes doubtful.
    """

    runtime: str
    session: "Session"
    input: InputSpec
    task: "Task"
    classes: int
    batch_size: int
    size_bytes: int
    files: tuple[Path, ...] = ()
    module: "nn.Module | None" = None
    decodes: bool = False
    notes: tuple[str, ...] = ()


def as_given(
    given: "Runs", example: "Example | None", shape: tuple[int, ...] | None, threads: int
) -> RunnableModel:
    """Load a file in its runtime, and a module in PyTorch.

    Args:
        given: What is to run.
        example: What it is fed, where it does not know that itself.
        shape: ``(C, H, W)`` of the data's images, in place of an example.
        threads: Inside one operator.

    Raises:
        InputError: It does not run on its input; see ``model_of``.
    """
    place = file_of(given)
    if place is not None:
        return _of_file(files.served(place), example, shape, threads)
    model = model_of(given, example, shape=shape)
    held = (*model.module.parameters(), *model.module.buffers())
    return RunnableModel(
        files.MODULES,
        TorchSession(model.module, Execution(threads)),
        model.input,
        task_of(model),
        classes_of(model),
        _BATCH,
        sum(tensor.numel() * tensor.element_size() for tensor in held),
        module=model.module,
        decodes=task_of(model).DECODES,
    )


def file_of(given: "Runs") -> Path | None:
    """Return the exported file that something is or made; None of what holds a torch module."""
    if isinstance(given, ExportResult | QuantizeResult):
        return given.files[0]
    return Path(given) if isinstance(given, str | Path) and files.is_file(given) else None


def _of_file(
    served: files.ServedFile,
    example: "Example | None",
    shape: tuple[int, ...] | None,
    threads: int,
) -> RunnableModel:
    spec = _input(served, example, shape)
    session = served.session(threads)
    try:
        blank = np.zeros((1, *spec.shape), np.float32)
        found = several(session.invoke(session.prepare(blank)))
    except Exception as error:
        session.close()
        raise InputError(
            f"does not run on images of {spec.shape}: {error}",
            where=str(served.path),
            hint="give an example of its input: example=torch.randn(1, C, H, W)",
        ) from error
    task = open_task("classification", spec)
    classes = found[0].shape[1] if found[0].ndim == _LOGITS_RANK else 0
    if served.detector is not None or served.ends_at_boxes:
        task = Detection(spec.shape[1:], served.detector, served.ends_at_boxes)
        classes = served.detector.classes if served.detector else len(served.classes)
    fixed = files.runtime_of(served.runtime).spec.fixed_batch
    return RunnableModel(
        served.runtime,
        session,
        spec,
        task,
        classes,
        1 if fixed else _BATCH,
        size_bytes(served.path),
        files=(served.path,),
        decodes=task.DECODES and not served.ends_at_boxes,
        notes=served.warnings,
    )


def _input(
    served: files.ServedFile, example: "Example | None", shape: tuple[int, ...] | None
) -> InputSpec:
    detects = served.detector is not None or served.ends_at_boxes
    if example is not None:
        return spec_of(example, detects=detects)
    if served.input is not None:
        return served.input
    if shape is not None:
        return spec_of(shape, detects=detects)
    raise InputError(
        "does not say what it is fed",
        where=str(served.path),
        hint="give an example of its input: example=torch.randn(1, C, H, W)",
    )
