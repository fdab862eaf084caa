"""What every runtime gives: a session that runs batches, and an audit of its kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.results import AuditedNode, KernelCoverage

Seconds = dict[str, list[float]]
"""Of one file: the seconds of every run by layer."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Outputs = NDArray[np.float32] | tuple[NDArray[np.float32], ...]
    """What a model returns: one array, or several in the order of its ``forward``."""


_RANK = 4
_CHANNELS = {1, 3}


@dataclass(frozen=True)
class Execution:
    """How a session runs.

    Attributes:
        threads: Threads inside one operator.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        layout: ``NCHW`` or ``NHWC`` where the shape of a file's input is ambiguous.
    """

    threads: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    layout: str | None = None


@dataclass(frozen=True)
class FileInput:
    """What a file says of its input.

    Attributes:
        dims: Its shape, with None for what is dynamic.
        type: NumPy's name of its element type.
        scale: Of integers that stand for floats; 0 of those that stand for themselves.
        zero_point: The integer that stands for 0.
    """

    dims: tuple[int | None, ...]
    type: str = "float32"
    scale: float = 0.0
    zero_point: int = 0

    @property
    def batch(self) -> int | None:
        """Images per call where the file fixes it."""
        return self.dims[0] if self.dims else None

    def of_pixels(self) -> tuple[float, float] | None:
        """Return the mean and std with which integers are pixels as they are; None of floats.

        A pixel of 0 is the lowest integer, whatever number that stands for.
        """
        lowest = {"uint8": 0, "int8": -128}.get(self.type)
        if lowest is None:
            return None
        return (self.zero_point - lowest) / 255, 1 / (255 * (self.scale or 1.0))

    def levels(self, mean: Sequence[float], std: Sequence[float]) -> float | None:
        """Return how many integers pixels in [0, 1] are spread over; None of floats."""
        plain = self.of_pixels()
        if plain is None:
            return None
        step = self.scale or 1.0
        lowest = -plain[0] / plain[1]
        highest = lowest + 255 * step
        channels = range(max(len(mean), len(std)))
        black_to_white = [
            (
                -mean[c % len(mean)] / std[c % len(std)],
                (1 - mean[c % len(mean)]) / std[c % len(std)],
            )
            for c in channels
        ]
        return min(
            max(min(white, highest) - max(black, lowest), 0.0) / step
            for black, white in black_to_white
        )

    def layout(self, usual: str) -> str:
        """Return where the channels are: at the side that has 1 or 3 of them, else as usual."""
        if len(self.dims) != _RANK or (self.dims[1] in _CHANNELS) == (self.dims[3] in _CHANNELS):
            return usual
        return "NCHW" if self.dims[1] in _CHANNELS else "NHWC"

    def image(self, layout: str) -> tuple[int | None, int | None, int | None]:
        """Return ``(C, H, W)``."""
        _, *rest = self.dims
        return (rest[2], rest[0], rest[1]) if layout == "NHWC" else (rest[0], rest[1], rest[2])


Prepared = Any
"""A batch as a runtime takes it; only the session that prepared it looks into it."""

CONVERSIONS = "conversions of types and layouts"
"""What stands for all nodes that only convert, where a profile has names of layers."""


class Session(Protocol):
    """A loaded model. ``prepare`` is not timed, ``invoke`` is."""

    def prepare(self, images: "NDArray[np.float32]") -> Prepared:
        """Turn images ``(N, C, H, W)`` into what the runtime takes."""
        ...

    def invoke(self, prepared: Prepared) -> "Outputs":
        """Run one prepared batch; return the output ``(N, …)``, or a tuple where it has several."""
        ...

    def close(self) -> None:
        """Release what the session holds."""
        ...


def chunks(
    images: "NDArray[np.float32]", layout: str, batch: int | None
) -> "list[NDArray[np.float32]]":
    """Put images ``(N, C, H, W)`` into a file's layout and split them by its batch size.

    The last chunk is padded with its last image. Without a batch size there is one chunk.
    """
    import numpy as np

    if layout == "NHWC" and images.ndim == _RANK:
        images = images.transpose(0, 2, 3, 1)
    size = batch or max(len(images), 1)
    found = []
    for start in range(0, max(len(images), 1), size):
        chunk = images[start : start + size]
        missing = size - len(chunk) if batch else 0
        if missing:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
        found.append(np.ascontiguousarray(chunk))
    return found


def several(outputs: "Outputs") -> "tuple[NDArray[np.float32], ...]":
    """Return outputs as a tuple, also where there is one only."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass(frozen=True)
class Stored:
    """Constants of one element type in a file."""

    tensors: int
    size_bytes: int


@dataclass(frozen=True)
class Audit:
    """What a file holds and which kernels run it here.

    Attributes:
        coverage: Convolutions and matrix products.
        islands: Other float operators between integer ones.
        operators: Count of the nodes that run, by operator.
        weights: Constants of the file by element type, scales and biases included.
        activations: Count of the tensors between nodes that run, by element type.
        size_bytes: Of the file.
        delegated: ``(taken, all)`` operators of a delegate (LiteRT's XNNPACK), or None.
        advice: Sentences: why it is slow or big, and what to do.
    """

    coverage: KernelCoverage
    islands: Sequence[AuditedNode]
    operators: dict[str, int]
    weights: dict[str, Stored]
    activations: dict[str, int]
    size_bytes: int
    delegated: tuple[int, int] | None = None
    advice: tuple[str, ...] = ()


class Activations(Protocol):
    """A file whose inner tensors can be read.

    Attributes:
        operators: Of every activation, by name and in order of execution, what makes it.
        inside: How many operators lie in branches and loop bodies.
    """

    operators: dict[str, str]
    inside: int

    def matching(self, other: "Activations") -> dict[str, str]:
        """Return ``{name here: name there}`` of tensors that hold the same activation."""
        ...

    def read(self, images: "NDArray[np.float32]") -> "Iterator[tuple[str, NDArray[np.float32]]]":
        """Run ``(N, C, H, W)`` and return every activation, dequantized."""
        ...


def path_text(path: "Path", runtime: str) -> str:
    """Return a path as runtimes take it, which is text.

    Raises:
        InputError: It holds bytes that are not text.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"its path is not UTF-8, and {runtime} opens no other",
            where=reading.shortened(path),
            hint="rename it",
        ) from error
    return text
