"""A file or bundle and what is known of it: its runtime, how it is fed, and how it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api.file_input import (
    IN_PYTHON,
    Wording,
    completed,
    input_of,
    refuse_few_levels,
)
from squeeze.core import reading, specs
from squeeze.core.errors import InputError, unknown_name
from squeeze.exporting.description import LAYOUTS, described

if TYPE_CHECKING:
    from squeeze.core.detector import DetectorSpec
    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import Session
    from squeeze.runtimes.runtime import Runtime
    from squeeze.tasks.base import Task

NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True)
class ServedFile:
    """A file, or a bundle, in its runtime.

    Attributes:
        runtime: The name of its runtime.
        spec: How images are prepared.
        source: Where that comes from, in words.
        layout: ``NCHW`` or ``NHWC``.
        batch: Images per call, where the file fixes it.
        description: How a detector's outputs are read, where the file's description says so.
        ends_at_boxes: Whether decoding and suppression are inside.
        classes: What its outputs are, in order, where the file beside it or the bundle says so.
        warnings: Descriptions that disagree.
        device: Where its runtime computes, ``cpu`` or ``cuda``.
        wording: How errors are worded.
    """

    path: Path
    runtime: str
    spec: "InputSpec"
    source: str = ""
    layout: str = "NCHW"
    batch: int | None = None
    description: "DetectorSpec | None" = None
    ends_at_boxes: bool = False
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    device: str = "cpu"
    wording: Wording = IN_PYTHON

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle folder and no exported file."""
        return reading.is_folder(self.path)

    @property
    def kind(self) -> str:
        """What it is: ``bundle``, ``onnx`` or ``tflite``."""
        return "bundle" if self.is_bundle else self.path.suffix.removeprefix(".")

    @property
    def place(self) -> str:
        """Where it runs, in words."""
        return self.runtime if self.device == "cpu" else f"{self.runtime} on {self.device}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input."""
        return self.spec.shape[1], self.spec.shape[2]

    def fed(self, spec: "InputSpec") -> "ServedFile":
        """Return the same file with another input."""
        return replace(self, spec=spec)

    def preprocessing(self) -> dict[str, object]:
        """Return how images are prepared, as plain data."""
        record = self.spec.model_dump(mode="json")
        return record | {"layout": self.layout, "source": self.source}

    def summary(self) -> str:
        """Return how images are prepared, in one line."""
        spec = self.spec
        fit = f"crop, crop fraction {spec.crop_fraction:.6g}" if spec.fit == "crop" else spec.fit
        colours = f", {spec.channel_order}" if spec.shape[0] > 1 else ""
        mean, std = (", ".join(f"{x:.6g}" for x in each) for each in (spec.mean, spec.std))
        return (
            f"{self.path}: images of {'x'.join(map(str, spec.shape))} as {self.layout}{colours}, "
            f"fit {fit}, {spec.interpolation}, mean {mean}, std {std} ({self.source})"
        )

    def shape_summary(self, batch_size: int) -> str:
        """Return what it is fed, in words."""
        channels, height, width = self.spec.shape
        sides = (height, width, channels) if self.layout == "NHWC" else self.spec.shape
        return f"fed {'x'.join(map(str, (batch_size, *sides)))}, {self.layout}"

    @cached_property
    def detector(self) -> "DetectorSpec | None":
        """How its outputs are read if it is a detector: bundles know it themselves."""
        if not self.is_bundle:
            return self.description
        from squeeze.core.detector import DetectorSpec
        from squeeze.models import bundle

        detector = getattr(bundle.load(self.path).module, "detector", None)
        return detector if isinstance(detector, DetectorSpec) else None

    @property
    def detects(self) -> bool:
        """Whether it is a detector."""
        return self.ends_at_boxes or self.detector is not None

    def task(self, wanted: str | None = None) -> "Task":
        """Return how its outputs are read.

        Args:
            wanted: The task that it has to be made for; None takes either.

        Raises:
            InputError: It is made for another task.
        """
        from squeeze.tasks import open_task
        from squeeze.tasks.detection.task import Detection

        if wanted == "detection" and not self.detects:
            raise InputError(
                "has no description that says how boxes are read from its outputs",
                where=str(self.path),
                hint="evaluate a bundle or a file that squeeze exported",
            )
        if wanted == "classification" and self.detects:
            raise InputError("is a detector", where=str(self.path), hint="leave --task out")
        if not self.detects:
            return open_task("classification", self.spec)
        return Detection(self.size, self.detector, self.ends_at_boxes)

    def load(self) -> "Runtime":
        """Return its runtime.

        Raises:
            InputError: The runtime is not installed.
        """
        return _installed(self.runtime, self.path, self.device)

    def open_session(self, threads: int) -> "Session":
        """Load the file and run it once on zeros.

        Raises:
            InputError: It does not run on this input.
        """
        return self.opened(threads)[0]

    def opened(self, threads: int) -> "tuple[Session, list[tuple[int, ...]]]":
        """Load the file and run it once on zeros.

        Returns:
            The session, and the shapes of the outputs of one image, without the batch.

        Raises:
            InputError: It does not run on this input.
        """
        import numpy as np

        from squeeze.runtimes.base import Execution, several

        session = self.load().open_session(
            self.path, Execution(threads, self.device, layout=self.layout)
        )
        try:
            blank = np.zeros((1, *self.spec.shape), np.float32)
            outputs = several(session.invoke(session.prepare(blank)))
        except Exception as error:
            session.close()
            raise InputError(
                f"does not run on an image of {self.spec.shape}: {error}",
                where=str(self.path),
                hint=self.wording.fit,
            ) from error
        return session, [output.shape[1:] for output in outputs]


def served(
    path: Path,
    given: Mapping[str, object] = NOTHING,
    *,
    fallback: "tuple[int, ...] | None" = None,
    wording: Wording = IN_PYTHON,
) -> ServedFile:
    """Recognise a bundle's folder or an exported file, and find out what it is fed.

    Args:
        path: The file.
        given: Keys of the input, and its ``layout``. They go before the description beside the
            file, that before the one inside, and that before the shape of the file's own input.
        fallback: ``(C, H, W)`` of the images, for files that say nothing.
        wording: How errors are worded.

    Raises:
        InputError: Not such a file, a value that does not fit, or nothing tells its input.
    """
    runtime = _recognised(path)
    layout = _layout(given.get("layout"), path, runtime, wording)
    values = {key: value for key, value in given.items() if key != "layout"}
    description = described(path, is_bundle=runtime.spec.runs_bundles, remedy=wording.damaged)
    own = _installed(runtime.name, path).file_input(path)
    if own is not None:
        usual = layout or description.layout or own.layout(runtime.spec.layout)
        description = completed(description, own, usual)
    spec, source = input_of(values, description, own, fallback, (path, wording))
    refuse_few_levels(own, spec, path, wording)
    return ServedFile(
        path,
        runtime.name,
        spec,
        source,
        layout or description.layout or LAYOUTS[0],
        None if own is None else own.batch,
        description.detector,
        description.ends_at_boxes,
        description.classes,
        description.warnings,
        wording=wording,
    )


def _recognised(path: Path) -> "Runtime":
    """Return the runtime of a file, or the one that runs bundles."""
    from squeeze.core import text
    from squeeze.exporting import file
    from squeeze.runtimes import runtime

    if reading.is_folder(path):
        return runtime.load(specs.module_runtime())
    runtime_of_file = runtime.of_file(path)
    if runtime_of_file is None:
        kinds = text.listed(specs.file_suffixes(), "or")
        what = f"is neither a bundle folder nor an {kinds} file"
        raise InputError(what, where=reading.shortened(path))
    if not reading.exists(path):
        raise InputError("no such file", where=reading.shortened(path))
    file.refuse_changed(path)
    return runtime_of_file


def exported(path: Path) -> "Runtime":
    """Return the runtime of an exported file, which a bundle is not.

    Raises:
        InputError: No such file, of another kind, changed, or its runtime is not installed.
    """
    from squeeze.core import text
    from squeeze.exporting import file
    from squeeze.runtimes import runtime

    where = reading.shortened(path)
    runtime_of_file = runtime.of_file(path)
    if runtime_of_file is None:
        kinds = text.listed(specs.file_suffixes(), "or")
        raise InputError(f"is not an exported file, expected an {kinds} file", where=where)
    if not reading.is_file(path):
        raise InputError("no such file", where=where)
    file.refuse_changed(path)
    return _installed(runtime_of_file.name, path)


def _installed(name: str, path: Path, device: str = "cpu") -> "Runtime":
    from squeeze.runtimes import runtime

    return runtime.installed(name, where=reading.shortened(path), device=device)


def _layout(text: object, path: Path, runtime: "Runtime", wording: Wording) -> str | None:
    if text is None:
        return None
    if runtime.spec.runs_bundles:
        what = "applies to exported files only; a bundle takes nchw"
        raise InputError(what, where=wording.place("layout"))
    if str(text).upper() not in LAYOUTS:
        what = unknown_name("layout", str(text), [name.lower() for name in LAYOUTS])
        raise InputError(what, where=f"{wording.place('layout')} of {path}")
    return str(text).upper()
