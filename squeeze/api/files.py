"""Exported files: where they go, which runtime runs them, how they are fed and read."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core import reading, specs, text
from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError, unknown_name
from squeeze.exporting import file
from squeeze.exporting.description import described
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes import runtime as runtimes
from squeeze.runtimes.base import Execution

if TYPE_CHECKING:
    from squeeze.models.types import Model
    from squeeze.runtimes.base import Session
    from squeeze.runtimes.runtime import Runtime

MODULES = "pytorch"
"""The runtime of torch modules, which need no file."""

_REMEDY = "remove it and give example=squeeze.InputSpec(shape=…, mean=…, std=…)"


def folder_path(given: Any) -> Path:  # noqa: ANN401
    """Return the path of a folder that is there or may be made.

    Raises:
        InputError: It is not a path, or that of a file.
    """
    if not isinstance(given, str | Path):
        raise InputError(
            f"found a {type(given).__name__}, expected the path of a folder", where="output"
        )
    if reading.is_file(Path(given)):
        raise InputError("is a file, expected a folder", where=str(given))
    return Path(given)


class OutputFolder:
    """Where a result's files are: a folder of the caller's, or one that goes with the result."""

    def __init__(self, output: str | Path | None) -> None:
        self.path = (
            Path(tempfile.mkdtemp(prefix="squeeze-")) if output is None else folder_path(output)
        )
        self.path.mkdir(parents=True, exist_ok=True)
        if output is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def new(self, name: str) -> Path:
        """Return the place of a new file.

        Raises:
            InputError: It is taken.
        """
        path = self.path / name
        if path.exists():
            raise InputError(
                "exists already", where=str(path), hint="choose another output or name"
            )
        return path


@dataclass(frozen=True)
class ServedFile:
    """An exported file and what is known of it.

    Attributes:
        runtime: The name of its runtime.
        input: What it is fed; None where nothing says it.
        layout: ``NCHW`` or ``NHWC``, where its description says so.
        detector: How a detector's outputs are read.
        ends_at_boxes: Whether decoding and suppression are inside.
        classes: Names of its outputs, where its description has them.
        warnings: Where the description beside it and the one inside disagree.
    """

    path: Path
    runtime: str
    input: InputSpec | None = None
    layout: str | None = None
    detector: DetectorSpec | None = None
    ends_at_boxes: bool = False
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def session(self, threads: int) -> "Session":
        """Load the file in its runtime."""
        return runtime_of(self.runtime).open_session(
            self.path, Execution(threads, layout=self.layout)
        )


def runtime_of(name: str) -> "Runtime":
    """Return a runtime that can run here.

    Raises:
        InputError: There is none of this name, or it is not installed.
    """
    return runtimes.installed(name, where=name)


def runtime_named(given: str) -> str:
    """Return the name of a runtime that makes files, which the suffix of its files will do for.

    Raises:
        InputError: There is none.
    """
    known = {name: spec for name, spec in specs.runtimes().items() if not spec.runs_bundles}
    if given in known:
        return given
    for name, spec in known.items():
        if given == spec.kind:
            return name
    kinds = [spec.kind for spec in known.values()]
    raise InputError(unknown_name("runtime", str(given), [*known, *kinds]))


def is_file(given: Any) -> bool:  # noqa: ANN401
    """Tell whether a path names an exported file, rather than a bundle's folder."""
    return isinstance(given, str | Path) and not reading.is_folder(Path(given))


def served(path: str | Path) -> ServedFile:
    """Return an exported file with what its description says.

    Raises:
        InputError: No such file, no runtime for it, or it was changed since it was exported.
    """
    path = Path(path)
    if not reading.exists(path):
        raise InputError("no such file", where=reading.shortened(path))
    runtime = _by_suffix(path)
    file.refuse_changed(path)
    found = described(path, is_bundle=False, remedy=_REMEDY)
    try:
        spec = InputSpec.model_validate(found.values) if found.values else None
    except ValueError as error:
        what = f"its description is damaged: {error}"
        raise InputError(what, where=found.source, hint=_REMEDY) from error
    return ServedFile(
        path,
        runtime,
        spec,
        found.layout,
        found.detector,
        found.ends_at_boxes,
        found.classes,
        found.warnings,
    )


def _by_suffix(path: Path) -> str:
    name = specs.runtime_of_file(path)
    if name is None:
        kinds = text.listed(specs.file_suffixes(), "or")
        raise InputError(
            f"no runtime runs files of type '{path.suffix}'",
            where=reading.shortened(path),
            hint=f"give an {kinds} file, or a bundle's folder",
        )
    return name


def write_float(model: "Model", runtime: str, name: str, batch_size: int, folder: Path) -> Path:
    """Export a model for a runtime and describe the file.

    Raises:
        SqueezeError: The exporter cannot express the model.
    """
    return file.write(name, model, runtime_of(runtime), batch_size, folder, None)


def name_of(name: str, runtime: str, batch_size: int) -> str:
    """Return what an exported file is called."""
    return file.name_of(name, runtime_of(runtime).spec, batch_size)


def difference(path: Path, runtime: str, model: "Model", batch_size: int) -> float:
    """Return the largest difference of a float file from torch on random images.

    Raises:
        SqueezeError: It is more than 1 % of the largest output.
    """
    return file.difference(runtime_of(runtime), path, model, batch_size)


def describe(path: Path, model: "Model", batch_size: int) -> None:
    """Say beside a file and inside it how it is fed and read."""
    file.describe(path, model, batch_size)


def without_preprocessing(spec: InputSpec) -> str:
    """Return the note about a file whose description cannot tell how images are prepared."""
    if not {"mean", "std"} & spec.left_out:
        return ""
    return (
        "the file's description says that it is fed pixels in [0, 1]: where your images are "
        "normalised, give example=squeeze.InputSpec(shape=…, mean=…, std=…)"
    )


def remove(path: Path) -> None:
    """Remove an exported file and its description."""
    for written in (path, file.description_of(path)):
        written.unlink(missing_ok=True)
