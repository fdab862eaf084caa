"""Where a quantized file departs from the float one: activations compared tensor by tensor."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import specs, text
from squeeze.core.errors import InputError
from squeeze.runtimes import runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from squeeze.runtimes.base import Activations


@dataclass(frozen=True)
class Layer:
    """One activation in both files.

    Attributes:
        name: The tensor's name in the float file.
        op: The operator that makes it there.
        position: Its place in the float file's order of execution, from 0.
        sqnr_db: Signal-to-quantization-noise ratio, 10 log10(sum f^2 / sum (f - q)^2), in dB;
            infinite where both are equal, minus infinite where only the float one is zero.
        cosine: Cosine of the angle between both, [-1, 1]; NaN where exactly one is all zero.
    """

    name: str
    op: str
    position: int
    sqnr_db: float
    cosine: float


@dataclass(frozen=True)
class Compared:
    """What was compared and what could not be.

    Attributes:
        layers: Worst first.
        only_float: Activations of the float file without a counterpart.
        only_quantized: Activations of the quantized file without one.
        images: How many were run.
        clashing: Names that stand for activations of different sizes, with the two counts of
            values: in the float file and in the other.
        inside: How many operators of the float file lie in branches and loop bodies, whose
            activations cannot be read.
    """

    layers: tuple[Layer, ...]
    only_float: tuple[str, ...]
    only_quantized: tuple[str, ...]
    images: int
    clashing: dict[str, tuple[int, int]]
    inside: int


@dataclass
class _Sums:
    signal: float = 0.0
    other: float = 0.0
    noise: float = 0.0
    product: float = 0.0

    def add(self, real: "NDArray[np.float64]", quantized: "NDArray[np.float64]") -> None:
        self.signal += float(real @ real)
        self.other += float(quantized @ quantized)
        self.noise += float((real - quantized) @ (real - quantized))
        self.product += float(real @ quantized)

    @property
    def sqnr_db(self) -> float:
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cosine(self) -> float:
        if self.signal == 0 or self.other == 0:
            return 1.0 if self.signal == self.other else math.nan
        return min(1.0, self.product / math.sqrt(self.signal * self.other))


def compare(
    real: "Activations", quantized: "Activations", batches: "Iterable[NDArray[np.float32]]"
) -> Compared:
    """Run both files on the same images; memory holds one batch's activations.

    Args:
        real: The float file.
        quantized: Made from it.
        batches: Images ``(N, C, H, W)`` as the model is fed.

    Raises:
        InputError: No tensor of one file has a counterpart in the other.
    """
    pairs = real.matching(quantized)
    sums, images = {name: _Sums() for name in pairs}, 0
    clashing: dict[str, tuple[int, int]] = {}
    for batch in batches:
        images += len(batch)
        others = dict(quantized.read(batch))
        for name, values in real.read(batch):
            other = others[pairs[name]] if name in pairs else None
            if other is not None and values.size != other.size:
                clashing[name] = (int(values.size), int(other.size))
            elif other is not None:
                sums[name].add(_flat(values), _flat(other))
    if not pairs.keys() - clashing.keys():
        raise InputError(
            f"none of {len(real.operators)} activations has a counterpart of the same name and "
            "size in the quantized file",
            hint="give the float file that the quantized one was made from",
        )
    matched = set(pairs.values())
    return Compared(
        _ranked(real, {name: each for name, each in sums.items() if name not in clashing}),
        tuple(name for name in real.operators if name not in pairs),
        tuple(name for name in quantized.operators if name not in matched),
        images,
        clashing,
        real.inside,
    )


def _ranked(real: "Activations", sums: "Mapping[str, _Sums]") -> tuple[Layer, ...]:
    """Return the layers of the float file that were compared, worst first."""
    order = {name: position for position, name in enumerate(real.operators)}
    layers = [
        Layer(name, real.operators[name], order[name], each.sqnr_db, each.cosine)
        for name, each in sums.items()
    ]
    return tuple(sorted(layers, key=lambda layer: layer.sqnr_db))


def _flat(values: "NDArray[np.float32]") -> "NDArray[np.float64]":
    return values.astype(np.float64).ravel()


def open_activations(path: Path, layout: str | None = None) -> "Activations":
    """Open a file of a runtime so that its inner tensors can be read.

    Args:
        path: The file.
        layout: ``NCHW`` or ``NHWC``, where the shape of its input is ambiguous.

    Raises:
        InputError: Of another kind, or its runtime cannot load it.
    """
    found = runtime.of_file(path)
    if found is None:
        kinds = text.listed(specs.file_suffixes(), "nor")
        raise InputError(f"is neither an {kinds} file", where=str(path))
    return found.activations(path, layout)
