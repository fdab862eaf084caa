"""What calibration images do inside the graph, gathered batch by batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization import graph_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor
    from torch.fx import GraphModule, Node

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split

    Look = Callable[["Node", "Tensor", tuple[object, ...]], None]

_BATCH = 8
MOST_IMAGES = 256
_SPATIAL = 4  # (N, C, H, W)
_FLAT = 2  # (N, C)


@dataclass(frozen=True)
class Channels:
    """Activations of one node, per image and channel, each ``(images, C)``."""

    lowest: "NDArray[np.float32]"
    highest: "NDArray[np.float32]"
    power: "NDArray[np.float32]"


def run(
    graph: "GraphModule", calibration: "Split", progress: "Progress", title: str, look: "Look"
) -> int:
    """Send up to 256 calibration images through the graph; return how many.

    Args:
        graph: What to run.
        calibration: The images, read in small batches.
        progress: Where the bar goes.
        title: The bar's name.
        look: Called with every node, its output and its inputs.
    """
    import torch

    def look_at_tensors(node: "Node", output: object, inputs: tuple[object, ...]) -> None:
        if isinstance(output, torch.Tensor):
            look(node, output, inputs)

    count = min(len(calibration), MOST_IMAGES)
    chosen = calibration.take(range(count))
    send = graph_run.runner(graph, look_at_tensors)
    with progress.task(title, count) as advance:
        for images, _ in chosen.batches(_BATCH):
            send(torch.from_numpy(np.ascontiguousarray(images)))
            for _ in range(len(images)):
                advance()
    return count


def channels(
    graph: "GraphModule", calibration: "Split", progress: "Progress"
) -> dict[str, Channels]:
    """Return the ranges and powers of all activations that have channels, by node name.

    Memory: three numbers per image and channel.
    """
    import torch

    seen: dict[str, list[Tensor]] = {}

    def look(node: "Node", output: "Tensor", _: tuple[object, ...]) -> None:
        if output.dim() in {_FLAT, _SPATIAL}:
            whole = output.reshape(*output.shape[:2], -1)
            seen.setdefault(node.name, []).append(
                torch.stack([whole.amin(2), whole.amax(2), whole.square().mean(2)])
            )

    run(graph, calibration, progress, "equalizing", look)
    return {name: Channels(*torch.cat(parts, 1).numpy()) for name, parts in seen.items()}
