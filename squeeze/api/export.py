"""``squeeze.export``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.api import files
from squeeze.api.inputs import at_least_one, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import ExportResult
from squeeze.core import specs
from squeeze.core.errors import InputError
from squeeze.tasks.detection import nms_file

if TYPE_CHECKING:
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress
    from squeeze.models.types import Model

_RANDOM = 4


def export(
    model: "ModelLike",
    example: "Example | None" = None,
    runtime: str = "onnx",
    *,
    output: str | Path | None = None,
    name: str = "model",
    batch_size: int = 1,
    nms: bool = False,
    progress: "Progress | bool | None" = None,
) -> ExportResult:
    """Write a model as a file for a runtime, and compare the file with torch.

    Args:
        model: A module in eval mode, a result, or a bundle's folder; it stays as it is.
        example: Images ``(N, C, H, W)``, a shape ``(C, H, W)`` or an ``InputSpec``, which the
            file's description then holds; needed where the model does not know its input.
        runtime: ``onnx`` (ONNX Runtime) or ``litert``.
        output: A folder. Left out, the file is removed with the result.
        name: Of the file, without its suffix.
        batch_size: Of LiteRT files, which hold one, at least 1; ONNX files take any.
        nms: For detectors and ONNX: also write ``NAME.nms.onnx``, which outputs boxes.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        The file, and how far its outputs are from torch's.

    Raises:
        InputError: Wrong use: no example, a module in training mode, a file that exists.
        SqueezeError: The exporter cannot express the model, or the file computes something else.

    Example:
        >>> squeeze.export(model, torch.randn(1, 3, 224, 224), "onnx", output="served").files
        (PosixPath('served/model.onnx'),)
    """
    (result,) = export_each(
        model,
        example,
        [runtime],
        output=output,
        name=name,
        batch_size=batch_size,
        nms=nms,
        progress=progress,
    )
    return result


def export_each(
    model: "ModelLike",
    example: "Example | None",
    runtimes: Sequence[str],
    *,
    output: str | Path | None,
    name: str,
    batch_size: int,
    nms: bool,
    progress: "Progress | bool | None",
) -> Iterator[ExportResult]:
    """Yield a model's file for each of several runtimes; see ``export``.

    Before the first one is written, it is made sure that there is none of these names.
    """
    at_least_one(batch_size, "batch_size")
    served_by = list(dict.fromkeys(files.runtime_named(runtime) for runtime in runtimes))
    shown = chosen(progress)
    for runtime in served_by:
        files.runtime_of(runtime)
    ending = {runtime for runtime in served_by if nms and specs.runtime(runtime).ends_at_boxes}
    if nms and not ending:
        known = [name for name, spec in specs.runtimes().items() if spec.ends_at_boxes]
        raise InputError(f"is for {' and '.join(known)} only", where="nms")
    exportable = model_of(model, example)
    if ending:
        nms_file.spec_of(exportable)
    folder = files.OutputFolder(output)
    for runtime in served_by:
        path = folder.new(files.name_of(name, runtime, batch_size))
        if runtime in ending:
            folder.new(nms_file.path_of(path).name)
    for runtime in served_by:
        with shown.task(f"exporting for {runtime}", 1) as advance:
            path = files.write_float(exportable, runtime, name, batch_size, folder.path)
            advance()
        yield _result(
            path, runtime, exportable, batch_size, folder, ends_at_boxes=runtime in ending
        )


def _result(
    path: Path,
    runtime: str,
    model: "Model",
    batch_size: int,
    folder: files.OutputFolder,
    *,
    ends_at_boxes: bool,
) -> ExportResult:
    """Compare a file with torch; one that computes something else is removed."""
    try:
        difference = files.difference(path, runtime, model, batch_size)
    except BaseException:
        files.remove(path)  # a file that is not the model is no result
        raise
    note, boxes = files.without_preprocessing(model.input), None
    if ends_at_boxes:
        boxes = _with_nms(path, model)
    return ExportResult(
        model,
        (path,) if boxes is None else (path, boxes.path),
        runtime,
        path.stat().st_size,
        difference,
        (note,) if note else (),
        boxes,
        folder,
    )


def _with_nms(path: Path, model: "Model") -> nms_file.NmsFile:
    """Write the file that ends at boxes, and compare it with the raw one on random images."""
    shape = (_RANDOM, *model.input.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return nms_file.write(path, model, images)
