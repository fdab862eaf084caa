"""Files that verbs write: where they go, for which runtime, and what is said of them."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import reading, specs
from squeeze.core.errors import InputError, unknown_name
from squeeze.exporting import file
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes import runtime as runtimes

if TYPE_CHECKING:
    from squeeze.models.types import Model
    from squeeze.runtimes.runtime import Runtime


def folder_path(given: object) -> Path:
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


def is_file(given: object) -> bool:
    """Tell whether a path names an exported file, rather than a bundle's folder."""
    return isinstance(given, str | Path) and not reading.is_folder(Path(given))


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
