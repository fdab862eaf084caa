"""Sides of parameters as sides of layers, as everybody speaks of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from squeeze.pruning.graph.coupling import Coupling
    from squeeze.pruning.graph.labels import Labelled

_NORM_TENSORS = ("weight", "running_mean")
"""Of a norm's tensors, which all lose the same channels, the first there is."""


@dataclass(frozen=True)
class LayerSide:
    """A side of a layer, or a dimension of a parameter that is no layer's usual one.

    Attributes:
        path: Of the layer or parameter.
        kind: Its class.
        labels: The label of every channel.
        is_out: Whether these are output channels.
        dimension: Of a bare parameter.
        makes: Whether the layer makes these channels.
    """

    path: str
    kind: str
    labels: "NDArray[np.int64]"
    is_out: bool = True
    dimension: int | None = None
    makes: bool = False


def sides(
    module: "nn.Module",
    coupling: "Coupling",
    picks: "Mapping[str, tuple[Labelled, Labelled]]",
) -> "Iterator[LayerSide]":
    """Yield all sides of layers.

    Args:
        module: What was walked.
        coupling: What was found.
        picks: Path of a layer that picks channels to its inputs and outputs.
    """
    yield from _of_tensors(module, coupling)
    for path, (before, made) in picks.items():
        kind = type(module.get_submodule(path)).__name__
        for value, is_out in ((before, False), (made, True)):
            yield LayerSide(path, kind, _along_channels(value), is_out=is_out)
    for path, counted in coupling.counted.items():
        layer = module.get_submodule(path)
        if _is_norm(layer):
            yield LayerSide(path, type(layer).__name__, np.asarray(counted.numpy()))


def _of_tensors(module: "nn.Module", coupling: "Coupling") -> "Iterator[LayerSide]":
    for (path, dim), side in coupling.sides.items():
        owner, _, leaf = path.rpartition(".")
        layer: Any = module.get_submodule(owner)
        makes = (path, dim) in coupling.makers
        place = _place(layer, leaf, dim)
        if place is None:
            yield LayerSide(path, "Parameter", side.labels, dimension=dim, makes=makes)
        elif place != _COVERED:
            is_out = place == _OUT
            labels = _whole(layer, side.labels, leaf, is_out=is_out)
            yield LayerSide(owner, type(layer).__name__, labels, is_out=is_out, makes=makes)


_OUT, _IN, _COVERED = "out", "in", "covered"


def _place(layer: Any, leaf: str, dim: int) -> str | None:  # noqa: ANN401
    """Return which side of a layer a tensor's dimension is; None if it is a bare tensor."""
    from torch import nn

    convolution = nn.modules.conv._ConvNd  # noqa: SLF001  (the only common base)
    if isinstance(layer, convolution | nn.Linear):
        return _place_in_weight(layer, dim) if leaf == "weight" else _of_bias(leaf)
    if _is_norm(layer):
        tensors = [name for name in _NORM_TENSORS if getattr(layer, name, None) is not None]
        if tensors and getattr(layer, tensors[0]).ndim == 1:
            return _OUT if leaf == tensors[0] else _COVERED
    return None


def _is_norm(layer: Any) -> bool:  # noqa: ANN401
    from torch import nn

    batch = nn.modules.batchnorm._NormBase  # noqa: SLF001  (the common base of batch and instance)
    return isinstance(layer, batch | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm)


def _place_in_weight(layer: Any, dim: int) -> str:  # noqa: ANN401
    if dim > 1 or (is_depthwise(layer) and dim == 1):
        return _COVERED
    reads = (dim == 1) != getattr(layer, "transposed", False) and not is_depthwise(layer)
    return _IN if reads else _OUT


def _of_bias(leaf: str) -> str | None:
    return _COVERED if leaf == "bias" else None


def is_depthwise(layer: Any) -> bool:  # noqa: ANN401
    """Tell a convolution whose every input channel is a group of its own.

    A transposed one with several outputs per input holds them in another dimension of its weight.
    """
    groups = getattr(layer, "groups", 1)
    if not 1 < groups == getattr(layer, "in_channels", 0):
        return False
    return bool(not layer.transposed or layer.out_channels == groups)


def _whole(layer: Any, labels: "NDArray[np.int64]", leaf: str, *, is_out: bool) -> Any:  # noqa: ANN401
    """Return the labels of all channels where a weight's dimension counts those of one group."""
    groups = getattr(layer, "groups", 1)
    if leaf != "weight" or groups == 1 or is_depthwise(layer):
        return labels
    width = layer.out_channels if is_out else layer.in_channels
    return np.tile(labels, width // len(labels))


def _along_channels(value: "Labelled") -> "NDArray[np.int64]":
    for labels in value.maps:
        if labels.shape[1] > 1:
            others = [dim for dim in range(labels.ndim) if dim != 1]
            found = labels.amax(others) if others else labels
            return np.asarray(found.numpy())
    return np.zeros(value.shape[1], np.int64)


def unreached(module: "nn.Module", paths: "Collection[str]") -> tuple[str, ...]:
    """Return layers with weights of which the forward pass reads none.

    Args:
        module: The module.
        paths: Of all parameters that it reads, however often they are shared.
    """
    from torch import nn

    kinds = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001
    first: dict[int, str] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        first.setdefault(id(parameter), path)
    return tuple(
        path
        for path, part in module.named_modules()
        if isinstance(part, kinds)
        and not {first[id(own)] for own in part.parameters()} & set(paths)
    )
