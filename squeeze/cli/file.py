"""What ``eval``, ``bench`` and ``export`` know about a file: its runtime and its input."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core import reading
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.core.detector import DetectorSpec
    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import Runtime, Session

_REMOVE_IT = "remove it and give --input C,H,W (and --mean, --std)"
_RUNTIMES = {".onnx": "onnxruntime", ".tflite": "litert"}


@dataclass(frozen=True)
class File:
    """A file to measure.

    Attributes:
        description: How a detector's outputs are read, where the file beside it says so.
        ends_at_boxes: Whether decoding and suppression are inside.
        classes: What its outputs are, in order, where the file beside it or the bundle says so.
    """

    path: Path
    runtime: str
    spec: "InputSpec"
    description: "DetectorSpec | None" = None
    ends_at_boxes: bool = False
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input."""
        return self.spec.shape[1], self.spec.shape[2]

    def detector(self) -> "DetectorSpec | None":
        """Return how its outputs are read if it is a detector: bundles know it themselves."""
        if self.runtime != "pytorch":
            return self.description
        from squeeze.core.detector import DetectorSpec
        from squeeze.sources import bundle

        found = getattr(bundle.load(self.path).module, "detector", None)
        return found if isinstance(found, DetectorSpec) else None

    def load(self) -> "Runtime":
        """Import its runtime.

        Raises:
            InputError: The runtime is not installed.
        """
        from squeeze.core import plugins

        module: Any = plugins.load(plugins.RUNTIMES, self.runtime)
        reason = module.unavailable("cpu")
        if reason is not None:
            raise InputError(reason, where=str(self.path))
        runtime: Runtime = module
        return runtime

    def open_session(self, threads: int, *, classes: int | None = None) -> "Session":
        """Load the file and run it once on zeros.

        Raises:
            InputError: It does not run on this input, or has other than ``classes`` outputs.
        """
        import numpy as np

        from squeeze.runtimes.base import Execution, several

        session = self.load().open_session(self.path, Execution(threads))
        try:
            blank = np.zeros((1, *self.spec.shape), np.float32)
            outputs = several(session.invoke(session.prepare(blank)))
        except Exception as error:
            session.close()
            raise InputError(
                f"does not run on an image of {self.spec.shape}: {error}",
                where=str(self.path),
                hint="give its input as --input C,H,W",
            ) from error
        shapes = [output.shape[1:] for output in outputs]
        if classes is not None and shapes != [(classes,)]:
            session.close()
            raise InputError(
                f"gives outputs {', '.join(map(str, shapes))} and the data has {classes} classes",
                where=str(self.path),
                hint="if the data lacks classes that the model knows, name all in order: --classes",
            )
        return session


def open_file(
    path: Path, shape: str | None = None, mean: str | None = None, std: str | None = None
) -> File:
    """Recognise a bundle folder, ``.onnx`` or ``.tflite`` and find out what it is fed.

    The description beside a file that squeeze exported is used unless flags are given.

    Raises:
        InputError: Not such a file, or nothing tells its input.
    """
    from pydantic import ValidationError

    from squeeze.cli.one_step import numbers
    from squeeze.export import file
    from squeeze.recipe.schema import InputSpec

    if reading.is_folder(path):
        runtime, record = "pytorch", path / "architecture.json"
    elif path.suffix in _RUNTIMES:
        runtime, record = _RUNTIMES[path.suffix], file.description_of(path)
        file.refuse_changed(path)
    else:
        what = "is neither a bundle folder nor an .onnx or .tflite file"
        raise InputError(what, where=reading.shortened(path))
    if not reading.exists(path):
        raise InputError("no such file", where=reading.shortened(path))
    found: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    detector, ends_at_boxes = None, False
    if record.is_file():
        found, detector, ends_at_boxes, classes = _described(record)
    found |= {
        key: numbers(text, f"--{'input' if key == 'shape' else key}")
        for key, text in (("shape", shape), ("mean", mean), ("std", std))
        if text
    }
    if "shape" not in found:
        raise InputError(
            f"{record.name} is not there, so nothing tells the input",
            where=str(path),
            hint="give --input C,H,W (and --mean, --std)",
        )
    try:
        spec = InputSpec.model_validate(found)
        return File(path, runtime, spec, detector, ends_at_boxes, classes)
    except ValidationError as error:
        raise InputError(f"input: {error.errors()[0]['msg']}", where=str(path)) from error


def _described(
    record: Path,
) -> "tuple[dict[str, Any], DetectorSpec | None, bool, tuple[str, ...]]":
    from squeeze.core.detector import DetectorSpec

    try:
        plain = reading.json_value(record)
    except InputError as error:
        raise InputError(f"is damaged: {error.what}", where=error.where, hint=_REMOVE_IT) from error
    try:
        found = dict(plain)
        detector = found.get("detector")
        spec = None if detector is None else DetectorSpec.of_json(detector)
        classes = tuple(str(name) for name in found.get("classes", ()))
        return dict(found["input"]), spec, "detections" in found, classes
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"is damaged: {type(error).__name__}: {error}",
            where=str(record),
            hint=_REMOVE_IT,
        ) from error
