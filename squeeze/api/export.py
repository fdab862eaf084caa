"""``squeeze.export``."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api import files
from squeeze.api.inputs import at_least_one, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import ExportResult

if TYPE_CHECKING:
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress


def export(
    model: "ModelLike",
    example: "Example | None" = None,
    runtime: str = "onnx",
    *,
    output: str | Path | None = None,
    name: str = "model",
    batch_size: int = 1,
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
    at_least_one(batch_size, "batch_size")
    served_by, shown = files.runtime_named(runtime), chosen(progress)
    files.runtime_of(served_by)
    found = model_of(model, example)
    folder = files.OutputFolder(output)
    folder.new(files.name_of(name, served_by, batch_size))
    with shown.task(f"exporting for {served_by}", 1) as advance:
        path = files.write_float(found, served_by, name, batch_size, folder.path)
        advance()
    try:
        difference = files.difference(path, served_by, found, batch_size)
    except BaseException:
        files.remove(path)  # a file that is not the model is no result
        raise
    note = files.without_preprocessing(found.input)
    return ExportResult(
        found,
        (path,),
        served_by,
        path.stat().st_size,
        difference,
        (note,) if note else (),
        folder,
    )
