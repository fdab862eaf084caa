"""ONNX files that end at detections, beside those of raw outputs, and the proof that they agree."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import specs
from squeeze.core.boxes import Detections
from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError, SqueezeError
from squeeze.exporting import file
from squeeze.exporting.detections import onnx as nodes
from squeeze.runtimes import runtime
from squeeze.runtimes.base import Execution, several
from squeeze.tasks.detection import decoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from squeeze.models.types import Model
    from squeeze.runtimes.base import Outputs

_LEAST_SHARED = 0.99
_PIXELS, _SCORE = 0.1, 1e-3
"""Two detections of a class are the same one when they differ by less."""


@dataclass(frozen=True)
class NmsFile:
    """What was written.

    Attributes:
        path: The file.
        detections: How many were compared.
        shared: Share of them that decoding the raw file's outputs finds too.
    """

    path: Path
    detections: int
    shared: float


def path_of(source: Path) -> Path:
    """Return where the file with suppression inside lies: beside the raw one."""
    return source.with_suffix(f".nms{source.suffix}")


def spec_of(model: "Model") -> DetectorSpec:
    """Return a detector's spec, where nodes can express it.

    Raises:
        InputError: It is not a detector, or ONNX has no nodes for it.
    """
    spec, where = getattr(model.module, "detector", None), model.architecture.build
    if not isinstance(spec, DetectorSpec):
        raise InputError("is not a detector: there is nothing to suppress", where=where)
    nodes.check(spec, where)
    return spec


def write(source: Path, model: "Model", images: "NDArray[np.float32]") -> NmsFile:
    """Put decoding and suppression behind an ONNX file and compare what both find.

    Args:
        source: A file of this detector's raw outputs, float or int8.
        model: The detector; its spec and input are used.
        images: What both are tried on ``(n, C, H, W)``, prepared.

    Raises:
        InputError: See ``spec_of``.
        SqueezeError: They find different objects.
    """
    path, spec = path_of(source), spec_of(model)
    size = model.input.shape[1], model.input.shape[2]
    nodes.attach(source, path, spec, size)
    try:
        expected = decoding.detections(_run(source, images), spec, size)
        found = detections(_run(path, images))
        shared = _shared(found, expected, path)
        file.describe_detections(path, model, nodes.OUTPUTS)
    except BaseException:
        path.unlink()  # its detections cannot be trusted
        raise
    return NmsFile(path, sum(map(len, found)), shared)


def detections(outputs: "Sequence[NDArray[np.generic]]") -> list[Detections]:
    """Return what such a file finds, image by image, in pixels of the input."""
    boxes, scores, classes, counts = outputs
    return [
        Detections.of(boxes[row, :count], scores[row, :count], classes[row, :count])
        for row, count in enumerate(counts.tolist())
    ]


def _run(path: Path, images: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], ...]":
    name = specs.runtime_of_file(path)
    if name is None:
        raise InputError("is the file of no runtime that is installed", where=str(path))
    session = runtime.load(name).open_session(path, Execution())
    outputs: Outputs = session.invoke(session.prepare(images))
    session.close()
    return several(outputs)


def _shared(found: list[Detections], expected: list[Detections], path: Path) -> float:
    """Return the share of all detections that both have."""
    most = max(sum(map(len, found)), sum(map(len, expected)))
    same = sum(_same(*pair) for pair in zip(found, expected, strict=True))
    if same < _LEAST_SHARED * most:
        raise SqueezeError(
            f"only {same} of {most} detections are those of the raw file",
            where=str(path),
            hint="please report the detector: its suppression inside the file must equal squeeze's",
        )
    return same / most if most else 1.0


def _same(found: Detections, expected: Detections) -> int:
    """Return how many of the first the second has too."""
    away = np.abs(found.xyxy[:, None] - expected.xyxy[None]).max(axis=2, initial=0)
    other = np.abs(found.scores[:, None] - expected.scores[None])
    same = (away < _PIXELS) & (other < _SCORE)
    same &= found.classes[:, None] == expected.classes[None]
    return int(same.any(axis=1).sum())
