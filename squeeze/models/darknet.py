"""Darknet's ``.weights`` files: numbers without names, in the order of the convolutions.

A header of three 32-bit integers (major, minor, revision) and the number of images seen, which has
64 bits from version 0.2 on; then float32. A convolution with batch norm has the norm's bias,
weight, mean and variance, then its kernel (out, in, rows, columns); one without has its bias, then
its kernel.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIX = ".weights"
_HEADER_BYTES = 12
_WIDE_SINCE = 2
_OLD = 1000


def load_darknet_(module: "nn.Module", path: Path) -> None:
    """Load a file into a module whose convolutions were made in the file's order, in place.

    Raises:
        InputError: The file holds more or fewer numbers than the module, or is damaged.
    """
    import torch

    numbers = _read(path)
    slots = _slots(module)
    wanted = sum(slot.numel() for slot in slots)
    if len(numbers) != wanted:
        raise InputError(
            f"holds {len(numbers):,} numbers and the model has {wanted:,}",
            where=str(path),
            hint="the network or its number of classes (model.args.num_classes) is another",
        )
    if not np.isfinite(numbers).all():
        raise InputError("holds NaN or infinity", where=str(path))
    start = 0
    with torch.no_grad():
        for slot in slots:
            part = numbers[start : start + slot.numel()]
            slot.copy_(torch.from_numpy(part.astype(np.float32)).reshape(slot.shape))
            start += slot.numel()


def _read(path: Path) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    content = path.read_bytes()
    if len(content) < _HEADER_BYTES:
        raise InputError("is too short for a Darknet file", where=str(path))
    major, minor, _ = np.frombuffer(content, "<i4", 3)
    is_wide = major * 10 + minor >= _WIDE_SINCE and major < _OLD and minor < _OLD
    rest = content[_HEADER_BYTES + (8 if is_wide else 4) :]
    if len(rest) % 4:
        raise InputError("is not a Darknet file or was cut off", where=str(path))
    return np.frombuffer(rest, "<f4")


def _slots(module: "nn.Module") -> "list[Tensor]":
    """Return the tensors of the module in the file's order."""
    from torch import nn

    layers = [one for one in module.modules() if isinstance(one, nn.Conv2d | nn.BatchNorm2d)]
    found: list[Tensor] = []
    for number, layer in enumerate(layers):
        if not isinstance(layer, nn.Conv2d):
            continue
        after = layers[number + 1] if number + 1 < len(layers) else None
        if isinstance(after, nn.BatchNorm2d):
            found += [after.bias, after.weight, after.running_mean, after.running_var]  # type: ignore[list-item]
        elif layer.bias is not None:
            found.append(layer.bias)
        found.append(layer.weight)
    return found
