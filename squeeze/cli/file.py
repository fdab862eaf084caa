"""What ``eval``, ``bench`` and ``export`` know about a file: its runtime and how it is fed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core import reading
from squeeze.core.errors import InputError, unknown_name
from squeeze.exporting.description import LAYOUTS, FileDescription, described

if TYPE_CHECKING:
    from squeeze.core.detector import DetectorSpec
    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import FileInput, Session
    from squeeze.runtimes.runtime import Runtime

_OF_BUNDLES = "pytorch"
_REMOVE_IT = "remove it and give --input C,H,W (and --mean, --std)"
_FLAGS = {"shape": "--input"}
_FEWEST_LEVELS = 16
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class File:
    """A file to measure.

    Attributes:
        spec: How images are prepared.
        source: Where that comes from, in words.
        layout: ``NCHW`` or ``NHWC``.
        batch: Images per call, where the file fixes it.
        description: How a detector's outputs are read, where the file's description says so.
        ends_at_boxes: Whether decoding and suppression are inside.
        classes: What its outputs are, in order, where the file beside it or the bundle says so.
        warnings: Descriptions that disagree.
        device: Where its runtime computes, ``cpu`` or ``cuda``.
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

    def fed(self, spec: "InputSpec") -> "File":
        """Return the same file with another input."""
        return replace(self, spec=spec)

    def preprocessing(self) -> dict[str, Any]:
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

    def detector(self) -> "DetectorSpec | None":
        """Return how its outputs are read if it is a detector: bundles know it themselves."""
        if not self.is_bundle:
            return self.description
        from squeeze.core.detector import DetectorSpec
        from squeeze.models import bundle

        found = getattr(bundle.load(self.path).module, "detector", None)
        return found if isinstance(found, DetectorSpec) else None

    def load(self) -> "Runtime":
        """Return its runtime.

        Raises:
            InputError: The runtime is not installed.
        """
        return _installed(self.runtime, self.path, self.device)

    def open_session(self, threads: int, *, classes: int | None = None) -> "Session":
        """Load the file and run it once on zeros.

        Raises:
            InputError: It does not run on this input, or has other than ``classes`` outputs.
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
                hint="give its input as --input C,H,W (and --layout nchw or nhwc)",
            ) from error
        shapes = [output.shape[1:] for output in outputs]
        if classes is not None and shapes != [(classes,)]:
            session.close()
            raise InputError(
                f"gives outputs {', '.join(map(str, shapes))} and the data has {classes} classes",
                where=str(self.path),
                hint="if the data lacks some of the model's classes, name all with --classes",
            )
        return session


def open_file(
    path: Path,
    shape: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    *,
    others: Mapping[str, Any] = NOTHING,
) -> File:
    """Recognise a bundle folder, ``.onnx`` or ``.tflite`` and find out what it is fed.

    Flags go before the description beside the file, that before the one inside, and that before
    the shape of the file's own input.

    Args:
        path: The file.
        shape: ``C,H,W``.
        mean: Numbers with commas between.
        std: The same.
        others: Further values of the input, and its ``layout``; None where a flag is not given.

    Raises:
        InputError: Not such a file, a flag that does not fit, or nothing tells its input.
    """
    from pydantic import ValidationError

    from squeeze.cli.values import numbers
    from squeeze.recipe.schema import InputSpec

    given: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    given |= {
        key: numbers(text, _flag(key))
        for key, text in (("shape", shape), ("mean", mean), ("std", std))
        if text
    }
    runtime = _recognised(path)
    layout = _layout(given.pop("layout", None), path, runtime)
    found = described(path, is_bundle=runtime.spec.runs_bundles, remedy=_REMOVE_IT)
    own = _installed(runtime.name, path).file_input(path)
    if own is not None:
        usual = layout or found.layout or own.layout(runtime.spec.layout)
        found = _completed(found, own, usual)
    values, source = found.values | given, found.source
    if given:
        source = f"{', '.join(sorted(given))} from flags, the rest from {found.source}"
    if "shape" not in values:
        dims = "x".join("?" if side is None else str(side) for side in own.dims) if own else ""
        raise InputError(
            f"has no description, and its input of {dims} (? is dynamic) is not an image's shape",
            where=str(path),
            hint="give --input C,H,W (and --mean, --std)",
        )
    try:
        spec = InputSpec.model_validate(values)
    except ValidationError as error:
        raise _wrong(dict(error.errors()[0]), given, path) from error
    _refuse_few_levels(own, spec, path)
    return File(
        path,
        runtime.name,
        spec,
        source,
        layout or found.layout or "NCHW",
        None if own is None else own.batch,
        found.detector,
        found.ends_at_boxes,
        found.classes,
        found.warnings,
    )


def _wrong(item: dict[str, Any], given: Mapping[str, Any], path: Path) -> InputError:
    """Return what is wrong with an input, in terms of the flags that gave it."""
    from squeeze.recipe import explain

    what, keys = explain.rule(item), [str(part) for part in item["loc"][:1]]
    meant = keys or re.findall(r"\w+", what)
    flags = {key: _flag(key) for key in sorted(given) if key in meant}
    if not flags:
        return InputError(f"input: {''.join(f'{key}: ' for key in keys)}{what}", where=str(path))
    return InputError(what, where=", ".join(flags.values()))


def _flag(key: str) -> str:
    return _FLAGS.get(key, f"--{key.replace('_', '-')}")


def _refuse_few_levels(own: "FileInput | None", spec: "InputSpec", path: Path) -> None:
    """Refuse a mean and std that leave next to nothing of the pixels in an input of integers.

    Raises:
        InputError: All pixels become a handful of integers.
    """
    levels = None if own is None else own.levels(spec.mean, spec.std)
    if own is not None and levels is not None and levels < _FEWEST_LEVELS:
        raise InputError(
            f"takes {own.type}, and pixels prepared with mean "
            f"{', '.join(f'{x:.6g}' for x in spec.mean)} and std "
            f"{', '.join(f'{x:.6g}' for x in spec.std)} use only {levels:.3g} of its 256 values",
            where=str(path),
            hint="leave --mean and --std out to feed pixels as they are",
        )


def _recognised(path: Path) -> "Runtime":
    """Return the runtime of a file."""
    from squeeze.core import specs, text
    from squeeze.exporting import file
    from squeeze.runtimes import runtime

    if reading.is_folder(path):
        return runtime.load(_OF_BUNDLES)
    found = runtime.of_file(path)
    if found is None:
        kinds = text.listed(specs.file_suffixes(), "or")
        what = f"is neither a bundle folder nor an {kinds} file"
        raise InputError(what, where=reading.shortened(path))
    if not reading.exists(path):
        raise InputError("no such file", where=reading.shortened(path))
    file.refuse_changed(path)
    return found


def _installed(name: str, path: Path, device: str = "cpu") -> "Runtime":
    from squeeze.runtimes import runtime

    return runtime.installed(name, where=str(path), device=device)


def _layout(text: str | None, path: Path, runtime: "Runtime") -> str | None:
    if text is None:
        return None
    if runtime.spec.runs_bundles:
        what = "applies to exported files only; a bundle takes nchw"
        raise InputError(what, where="--layout")
    if text.upper() not in LAYOUTS:
        known = [name.lower() for name in LAYOUTS]
        raise InputError(unknown_name("layout", text, known), where=f"--layout of {path}")
    return text.upper()


def _completed(found: FileDescription, own: "FileInput", layout: str) -> FileDescription:
    """Fill in what the file's own input tells."""
    values = dict(found.values)
    source = found.source
    if len(own.dims) == len(layout) and "shape" not in values:
        shape = own.image(layout)
        if None not in shape:
            values["shape"] = shape
            source = "the file's own input and defaults"
    plain = own.of_pixels()
    if plain is not None and not found.values:
        values |= {"mean": plain[:1], "std": plain[1:]}
    return replace(found, values=values, layout=layout, source=source)
