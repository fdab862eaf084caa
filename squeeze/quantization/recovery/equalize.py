"""Give the channels of an activation equal ranges, so that 8 bits serve all of them.

Channel ``c`` of an activation is multiplied by ``s[c]`` where it is made and divided by it where it
is used: through ReLU, additions, concatenations and pooling nothing else changes. Runtimes keep
one scale per activation, so a channel that reaches a tenth of the largest one has only 25 of the
256 steps; a weight has a scale per output channel, which absorbs ``s`` where the activation is
made. The cost is a wider spread of the weights along the input channels of the layers that use it,
and the exponent of every ``s`` is chosen to balance the two.

Source: Nagel et al., Data-Free Quantization (https://arxiv.org/abs/1906.04721) for the idea and its
exactness. They balance the weights of two layers; here activation ranges are equalized.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization.recovery import graph as graphs
from squeeze.quantization.recovery import observe, passed_over
from squeeze.quantization.recovery.groups import Group, blocked, groups

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.fx import GraphModule

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split

    Ranges = dict[str, observe.Channels]

EXPONENTS = tuple(round(0.1 * step, 1) for step in range(11))
_PERCENTILE = 90.0
_WIDEST = 1e4
_CLIP = 6.0
_STEPS = 255
_SILENT = 1e-12
_COARSEST = 64.0
"""The most steps of a layer's output that one step of its products may span: XNNPACK, which runs
LiteRT's files, loads none with 256 or more, and their ranges may be narrower than those here."""


def equalize_(
    graph: "GraphModule", calibration: "Split", progress: "Progress", *, largest: int
) -> int:
    """Scale channels in place; return how many groups of activations were.

    Args:
        graph: A folded graph. On the calibration images it computes the same as before.
        calibration: Images that show the ranges.
        progress: Where the bar goes.
        largest: The largest integer that a weight can have.
    """
    import torch

    found = groups(graph)
    if not found:
        return 0
    ranges = observe.channels(graph, calibration, progress)
    done = 0
    for group in found:
        measured = Measured.of(graph, group, ranges)
        if measured is None:
            continue
        most = _most(group, measured, ranges, largest=largest)
        scale = best_scale(group, measured, largest=largest, most=most)
        if scale is None:
            continue
        _apply_(group, scale.to(torch.float32))
        done += 1
    return done


def note(graph: "GraphModule", done: int) -> str:
    """Return how many groups were scaled, how many were not, and why.

    Args:
        graph: That was equalized.
        done: What ``equalize_`` returned.
    """
    left = len(groups(graph)) - done
    reasons = ["had no better scale"] * left + blocked(graph)
    return f"channels of {done} groups of activations equalized{passed_over.note(reasons)}"


@dataclass(frozen=True)
class Measured:
    """A group's activations by channel, each ``(C,)`` float64."""

    reach: "Tensor"
    power: "Tensor"
    ceiling: "Tensor | None"

    @classmethod
    def of(cls, graph: "GraphModule", group: Group, ranges: "Ranges") -> "Measured | None":
        """Return what was measured, or None where activations have other channels than expected."""
        import torch

        for node, places in group.places.items():
            seen = ranges.get(node.name)
            if seen is None or seen.highest.shape[1] != len(places):
                return None
        reach, power, highest = (np.zeros(group.channels) for _ in range(3))
        for node, places in group.places.items():
            if graphs.is_rounded(graph, node):
                seen = ranges[node.name]
                widest = np.maximum(seen.highest, -seen.lowest)
                np.maximum.at(reach, places, np.percentile(widest, _PERCENTILE, axis=0))
                np.maximum.at(highest, places, seen.highest.max(0))
                power[places] = seen.power.mean(0)  # that of the last one, which is used
        clips = any(graphs.is_relu6(graph, node) for node in group.nodes)
        return cls(
            torch.from_numpy(reach),
            torch.from_numpy(power),
            torch.from_numpy(highest) if clips else None,
        )

    def at(self, places: "NDArray[np.int64]") -> "Measured":
        """Return what one activation of the group has of it."""
        ceiling = None if self.ceiling is None else self.ceiling[places]
        return Measured(self.reach[places], self.power[places], ceiling)


def best_scale(
    group: Group, measured: Measured, *, largest: int, most: "Tensor"
) -> "Tensor | None":
    """Return the factors ``(C,)`` of least predicted noise, none above ``most``; None if all 1."""
    import torch

    widest = float(measured.reach.max())
    if not widest > 0:
        return None
    wanted = widest / measured.reach.clamp(min=widest / _WIDEST)
    inputs = [group.places[node.all_input_nodes[0]] for node in group.users]
    seen = [measured.at(places) for places in inputs]
    candidates = [
        torch.minimum(_below_clip(wanted**exponent, measured.ceiling), most)
        for exponent in EXPONENTS
    ]
    noises = [
        sum(
            predicted_noise(part, scale[places], own, largest)
            for part, places, own in zip(group.users.values(), inputs, seen, strict=True)
        )
        for scale in candidates
    ]
    best = int(np.argmin(noises))
    return None if best == 0 else candidates[best]


def predicted_noise(
    part: "graphs.Layer", scale: "Tensor", measured: Measured, largest: int
) -> float:
    """Return the noise that rounding adds to a layer's outputs, summed over output channels.

    A step ``d`` makes noise of power ``d**2 / 12``, independent in every weight and activation:
    ``sum w**2 * dx**2 / 12`` from the input and ``sum E[x**2] * dw**2 / 12`` from the weights. Each
    output channel's is divided by ``sum w**2 * E[x**2]``, so that no channel counts for its unit.
    """
    weight = part.weight.detach().double()
    weight = weight.reshape(*weight.shape[:2], -1)  # (O, I, kernel)
    along = (1, -1, 1) if graphs.is_dense(part) else (-1, 1, 1)
    power = measured.power.view(along).expand_as(weight)
    signal = (weight.square() * power).sum((1, 2))
    scaled = weight / scale.view(along)
    input_step = (measured.reach * scale).max() / _STEPS
    weight_step = scaled.flatten(1).abs().amax(1) / largest
    from_inputs = scaled.square().sum((1, 2)) * input_step**2
    from_weights = (power * scale.square().view(along)).sum((1, 2)) * weight_step**2
    return float(((from_inputs + from_weights) / 12 / signal.clamp(min=_SILENT)).sum())


def _most(group: Group, measured: Measured, ranges: "Ranges", *, largest: int) -> "Tensor":
    """Return the largest factors ``(C,)`` with which every runtime takes the makers' weights."""
    import torch

    most = torch.full((group.channels,), _WIDEST, dtype=torch.float64)
    for node, part in group.makers.items():
        seen = ranges[node.all_input_nodes[0].name]
        step = float(max(seen.highest.max(), -seen.lowest.min())) / largest
        reach = part.weight.detach().double().flatten(1).abs().amax(1)
        room = _COARSEST * measured.reach.max() / (step * reach).clamp(min=_SILENT)
        places = torch.from_numpy(group.places[node])
        most[places] = torch.minimum(most[places], room)
    return most.clamp(min=1.0)


def _below_clip(scale: "Tensor", ceiling: "Tensor | None") -> "Tensor":
    """Keep the largest value that a channel reached at most at ReLU6's 6, and factors above 1."""
    if ceiling is None:
        return scale
    import torch

    room = (_CLIP / ceiling.clamp(min=_CLIP / _WIDEST)).clamp(min=1.0)
    return torch.minimum(scale, room).clamp(min=1.0)


def _apply_(group: Group, scale: "Tensor") -> None:
    for node, part in group.makers.items():
        own = scale[group.places[node]]
        part.weight.data *= own.view(-1, *[1] * (part.weight.dim() - 1))
        if part.bias is not None:
            part.bias.data *= own
    for node, part in group.users.items():
        own = scale[group.places[node.all_input_nodes[0]]]
        first = (1, -1) if graphs.is_dense(part) else (-1, 1)
        part.weight.data /= own.view(*first, *[1] * (part.weight.dim() - 2))
