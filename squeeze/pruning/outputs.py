"""The tensors in what a model returns, whatever holds them, and how far two of them lie apart."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 100
"""Differences of this many rounding errors of the largest value are none."""


def tensors(outputs: Any, place: str = "") -> "Iterator[tuple[str, Tensor]]":  # noqa: ANN401
    """Yield the tensors of nested dictionaries, sequences and data classes, each with its place.

    Numbers count as tensors. What holds none of these is left out.
    """
    import torch

    if torch.is_tensor(outputs):
        yield place, outputs
    elif isinstance(outputs, bool | int | float):
        yield place, torch.tensor(outputs)
    elif isinstance(outputs, Mapping):
        for key, value in outputs.items():
            yield from tensors(value, f"{place}[{key!r}]")
    elif isinstance(outputs, list | tuple):
        for number, value in enumerate(outputs):
            yield from tensors(value, f"{place}[{number}]")
    elif is_dataclass(outputs) and not isinstance(outputs, type):
        for part in fields(outputs):
            yield from tensors(getattr(outputs, part.name), f"{place}.{part.name}")


def shapes(outputs: "Mapping[str, Tensor]") -> str:
    """Return the shapes of the tensors, as an engineer would write them."""
    if list(outputs) == [""]:
        return str(tuple(outputs[""].shape))
    return ", ".join(f"{place} {tuple(tensor.shape)}" for place, tensor in outputs.items())


def distance(found: "Mapping[str, Tensor]", expected: "Mapping[str, Tensor]") -> float:
    """Return the largest difference as a fraction of the spread of the expected tensor's values.

    Infinite where shapes differ, or where values differ that are not finite or all the same.
    """
    if found.keys() != expected.keys():
        return math.inf
    return max((_distance(found[place], expected[place]) for place in expected), default=0.0)


def spread(tensor: "Tensor") -> float:
    """Return the largest minus the smallest finite value; 0 where there is none."""
    values = tensor.detach().double()
    values = values[values.isfinite()]
    return float(values.max() - values.min()) if values.numel() else 0.0


def _distance(found: "Tensor", expected: "Tensor") -> float:
    if found.shape != expected.shape:
        return math.inf
    one, other = found.detach().double(), expected.detach().double()
    finite = other.isfinite()
    if not bool(((one == other) | finite).all()) or not bool(one[finite].isfinite().all()):
        return math.inf
    if not bool(finite.any()):
        return 0.0
    largest = float((one - other)[finite].abs().max())
    if largest <= _rounding(expected) * float(other[finite].abs().max()):
        return 0.0
    scale = spread(expected)
    return largest / scale if scale > 0 else math.inf


def _rounding(tensor: "Tensor") -> float:
    import torch

    return _ROUNDING * torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
