"""First and second moments of the inputs of every layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization.recovery import graph as graphs
from squeeze.quantization.recovery import observe

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split

LARGEST_FAN_IN = 4608
_POSITIONS = 20_000
_PER_INPUT = 8
_SPATIAL = 4  # (N, C, H, W)


@dataclass
class Moments:
    """Sums over input positions of one layer, about the mean of the first images.

    Without that centre, the square of a mean far above the deviations would swallow them.

    Attributes:
        centre: ``(G, K)`` float32.
        count: Positions seen.
        sum: Of ``x - centre``, ``(G, K)`` float64.
        square: Of the same, ``(G, K, K)`` float64; None where ``K`` is above 4608.
    """

    centre: "Tensor"
    count: int
    sum: "Tensor"
    square: "Tensor | None"

    @property
    def mean(self) -> "Tensor":
        """``E[x]``, ``(G, K)``."""
        return self.centre.double() + self.sum / self.count

    @property
    def covariance(self) -> "Tensor | None":
        """``E[x x'] - E[x] E[x]'``, ``(G, K, K)``."""
        if self.square is None:
            return None
        offset = self.sum / self.count
        return self.square / self.count - offset[:, :, None] * offset[:, None]


def collect(graph: "GraphModule", calibration: "Split", progress: "Progress") -> dict[str, Moments]:
    """Return the moments of every layer's inputs, of all its calls together, by its path.

    Memory: the square of a layer's fan-in for each layer, whatever the number of images. Of large
    maps a seeded draw of positions is used, in all about 20,000 or 8 for each input.
    """
    import torch
    from torch import nn

    found: dict[str, Moments] = {}
    wanted = {str(node.target) for node in graphs.layers(graph)}
    images = min(len(calibration), observe.MOST_IMAGES)
    generator = np.random.default_rng(0)

    def look(node: "Node", output: "Tensor", inputs: tuple[object, ...]) -> None:
        part, path = graphs.layer(graph, node), str(node.target)
        if part is None or path not in wanted or not isinstance(inputs[0], torch.Tensor):
            return
        if output.dim() == _SPATIAL or isinstance(part, nn.Linear):
            _add_(found, path, patches(part, inputs[0], images, generator))

    observe.run(graph, calibration, progress, "gathering moments", look)
    return found


def patches(
    part: "graphs.Layer", inputs: "Tensor", images: int, generator: np.random.Generator
) -> "Tensor":
    """Return what the kernel sees at each (drawn) position, ``(G, K, positions)``."""
    import torch
    from torch import nn

    if isinstance(part, nn.Linear):
        return inputs.flatten(0, -2).T[None]
    count, groups = len(inputs), part.groups
    padding = part.padding if isinstance(part.padding, tuple) else (0, 0)
    if isinstance(part.padding, str) and part.padding == "same":
        inputs = nn.functional.pad(inputs, part._reversed_padding_repeated_twice)  # noqa: SLF001
    unfolded = nn.functional.unfold(
        inputs, part.kernel_size, part.dilation, padding, part.stride
    )  # (N, G * K, positions)
    fan_in = unfolded.shape[1] // groups
    most = max(1, max(_POSITIONS, _PER_INPUT * fan_in) // images)
    if most < unfolded.shape[2]:
        drawn = generator.choice(unfolded.shape[2], most, replace=False)
        unfolded = unfolded[..., torch.from_numpy(np.sort(drawn))]
    return (
        unfolded.reshape(count, groups, fan_in, -1).permute(1, 2, 0, 3).reshape(groups, fan_in, -1)
    )


def _add_(found: dict[str, Moments], name: str, values: "Tensor") -> None:
    centre = found[name].centre if name in found else values.mean(2)
    values = values - centre[..., None]
    small = values.shape[1] <= LARGEST_FAN_IN
    square = (values @ values.transpose(1, 2)).double() if small else None
    total, count = values.sum(2).double(), values.shape[2]
    if name not in found:
        found[name] = Moments(centre, count, total, square)
        return
    before = found[name]
    before.count += count
    before.sum += total
    if before.square is not None and square is not None:
        before.square += square
