"""Params and MACs of a model at any widths, without building it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.pruning.groups import ChannelGroup, PruningGroups
from squeeze.recipe.schema import InputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class LayerCost:
    """A convolution or linear layer.

    Attributes:
        path: Its module path.
        outputs: Output channels.
        inputs: Input channels that one output reads.
        kernel: Kernel size (1 for linear layers).
        positions: Positions per image: of outputs, or of inputs if it is transposed.
        out_groups: Group name to the output channels that are the group's.
        in_groups: The same for input channels that one output reads, on average.
    """

    path: str
    outputs: int
    inputs: int
    kernel: int
    positions: int
    out_groups: Mapping[str, int]
    in_groups: Mapping[str, float]


class CostModel:
    """Weights and MACs per layer as functions of the groups' kept shares."""

    def __init__(self, survey: PruningGroups, spec: InputSpec) -> None:
        self.layers = _layers(survey, spec)
        self.names = [group.name for group in survey.prunable]
        index = {name: column for column, name in enumerate(self.names)}
        shape = len(self.layers), len(self.names)
        self._out, self._in = np.zeros(shape), np.zeros(shape)
        for row, layer in enumerate(self.layers):
            for name, channels in layer.out_groups.items():
                self._out[row, index[name]] = channels
            for name, share in layer.in_groups.items():
                self._in[row, index[name]] = share
        self._outputs = np.array([layer.outputs for layer in self.layers], float)
        self._inputs = np.array([layer.inputs for layer in self.layers], float)
        self._kernels = np.array([layer.kernel for layer in self.layers], float)
        self._positions = np.array([layer.positions for layer in self.layers], float)

    def weights(self, shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the weights of every layer ``(layers,)``, biases not counted.

        Args:
            shares: Kept share of every group, ``(groups,)`` in (0, 1], in the order of ``names``.
        """
        gone = 1 - shares
        outputs = self._outputs - self._out @ gone
        inputs = self._inputs - self._in @ gone
        found: NDArray[np.float64] = outputs * inputs * self._kernels
        return found

    def macs(self, shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the multiply-adds of every layer for one image ``(layers,)``."""
        found: NDArray[np.float64] = self.weights(shares) * self._positions
        return found


def _layers(survey: PruningGroups, spec: InputSpec) -> list[LayerCost]:
    positions = _positions(survey, spec)
    sides = _sides(survey.prunable)
    found = []
    for path, count in positions.items():
        layer: Any = survey.module.get_submodule(path)
        outputs = layer.weight.shape[0]
        inputs, kernel = layer.weight.shape[1], int(np.prod(layer.weight.shape[2:]))
        groups = getattr(layer, "groups", 1)
        if getattr(layer, "transposed", False):
            outputs, inputs = layer.out_channels, layer.in_channels // groups
        depthwise = groups > 1 and groups == outputs
        in_groups = {
            name: channels / groups for name, channels in sides.get((path, False), {}).items()
        }
        out_groups = sides.get((path, True), {})
        if depthwise:  # input and output channels are the same ones
            out_groups = out_groups or sides.get((path, False), {})
            in_groups = {}
        found.append(LayerCost(path, outputs, inputs, kernel, count, out_groups, in_groups))
    return found


def _sides(groups: Sequence[ChannelGroup]) -> dict[tuple[str, bool], dict[str, int]]:
    """Return, for every side of a layer, how many of its channels belong to which group."""
    found: dict[tuple[str, bool], dict[str, int]] = {}
    for group in groups:
        for dependency in group.dependencies:
            side = found.setdefault((dependency.path, dependency.is_out), {})
            side[group.name] = side.get(group.name, 0) + len(set(dependency.indices))
    return found


def _positions(survey: PruningGroups, spec: InputSpec) -> dict[str, int]:
    """Run once; return the positions per image at which every layer that ran multiplies."""
    import torch
    from torch import nn

    found: dict[str, int] = {}
    hooks = []
    layers = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001  (the only common base)
    for path, part in survey.module.named_modules():
        if isinstance(part, layers):

            def note(layer: Any, inputs: Any, output: "Tensor", path: str = path) -> None:  # noqa: ANN401
                # a transposed convolution multiplies once per input position
                side = inputs[0] if getattr(layer, "transposed", False) else output
                width = layer.weight.shape[0] if isinstance(layer, nn.Linear) else side.shape[1]
                found[path] = found.get(path, 0) + side[0].numel() // width

            hooks.append(part.register_forward_hook(note))
    try:
        with torch.inference_mode():
            survey.module(torch.zeros(1, *spec.shape))
    finally:
        for hook in hooks:
            hook.remove()
    return found
