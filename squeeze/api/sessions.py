"""Anything that runs images: a module in PyTorch, or a file in its runtime."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api import files
from squeeze.api.inputs import classes_of, model_of, spec_of
from squeeze.api.results import ExportResult, QuantizeResult
from squeeze.api.served import ServedFile, served
from squeeze.api.training import task_of
from squeeze.core import specs
from squeeze.measure.target import size_bytes
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution
from squeeze.runtimes.pytorch.session import TorchSession

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from torch import nn

    from squeeze.api.inputs import Example, ModelLike
    from squeeze.runtimes.base import Session
    from squeeze.tasks.base import Task

    Runs: TypeAlias = "ModelLike | ExportResult | QuantizeResult"
    """A module, a result of another verb, a bundle's folder, or an exported file."""

_BATCH = 32
_LOGITS_RANK = 1


@dataclass(frozen=True)
class RunnableModel:
    """A loaded model.

    Attributes:
        session: To be closed.
        classes: How many it knows; 0 where its outputs do not tell.
        names: Of the classes, where it knows them.
        batch_size: How many images it is best given at once; 1 where a file fixes that.
        files: The file; none of a module.
        module: None of a file.
        decodes: Whether a detector's outputs still have to be decoded.
        notes: What its description makes doubtful.
        outputs: Of a file, their shapes for one image, without the batch.
    """

    runtime: str
    session: "Session"
    input: InputSpec
    task: "Task"
    classes: int
    batch_size: int
    size_bytes: int
    names: "Sequence[str]" = ()
    files: tuple[Path, ...] = ()
    module: "nn.Module | None" = None
    decodes: bool = False
    notes: tuple[str, ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()


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
        return of_file(served(place, _values(example), fallback=shape), threads)
    model = model_of(given, example, shape=shape)
    held = (*model.module.parameters(), *model.module.buffers())
    return RunnableModel(
        specs.module_runtime(),
        TorchSession(model.module, Execution(threads)),
        model.input,
        task_of(model),
        classes_of(model),
        _BATCH,
        sum(tensor.numel() * tensor.element_size() for tensor in held),
        model.architecture.classes,
        module=model.module,
        decodes=task_of(model).DECODES,
    )


def file_of(given: "Runs") -> Path | None:
    """Return the exported file that something is or made; None of what holds a torch module."""
    if isinstance(given, ExportResult | QuantizeResult):
        return given.files[0]
    return Path(given) if isinstance(given, str | Path) and files.is_file(given) else None


def of_file(served: ServedFile, threads: int, wanted: str | None = None) -> RunnableModel:
    """Load a file, or a bundle, in its runtime.

    Args:
        served: The file.
        threads: Inside one operator.
        wanted: The task that it has to be made for; None takes either.

    Raises:
        InputError: It does not run on its input, or is made for another task.
    """
    task, detector = served.task(wanted), served.detector
    session, shapes = served.opened(threads)
    classes = shapes[0][0] if len(shapes[0]) == _LOGITS_RANK else 0
    if served.detects:
        classes = detector.classes if detector else len(served.classes)
    return RunnableModel(
        served.runtime,
        session,
        served.spec,
        task,
        classes,
        1 if served.load().spec.fixed_batch else _BATCH,
        size_bytes(served.path),
        served.classes,
        files=(served.path,),
        decodes=task.DECODES and not served.ends_at_boxes,
        notes=served.warnings,
        outputs=tuple(shapes),
    )


def _values(example: "Example | None") -> dict[str, object]:
    """Return the keys of the input that an example gives."""
    if example is None:
        return {}
    spec = spec_of(example)
    return spec.model_dump(exclude_unset=True)
