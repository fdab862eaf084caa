"""Match the tensors of an exported file with the activations of the simulation, by their values.

Names and layouts change in the export, values do not: the float model and the float file see the
same image, and a tensor with the fingerprint of an activation is that activation.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization import graph_run
from squeeze.quantization.keep_float.fingerprint import Fingerprint
from squeeze.quantization.keep_float.kept import KeepFloat
from squeeze.quantization.keep_float.layers import operations
from squeeze.quantization.qat import floats
from squeeze.quantization.qat import simulation as simulations
from squeeze.quantization.recovery.recover import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch.fx import Node

    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.quantization.qat.simulation import Ranges


@dataclass(frozen=True)
class Activation:
    """An activation of one image: its range, and the fingerprint of its values."""

    name: str
    range: tuple[float, float]
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Matched:
    """Ranges for a file's tensors, and the activations that the file does not have.

    Attributes:
        ranges: Tensor to (low, high).
        missing: Activations of the simulation that the file does not have.
        note: For the report.
    """

    ranges: dict[str, tuple[float, float]]
    missing: tuple[str, ...]
    note: str


class TrainedRanges:
    """The ranges that a model was trained with, looked up by a file's tensors.

    Args:
        model: Trained, float.
        ranges: Found by the training.
        images: The first one is used.
    """

    def __init__(self, model: "Model", ranges: "Ranges", images: "Split") -> None:
        self._model, self._ranges = model, ranges
        self.image, _ = images.batch([0])
        self._known = _activations(model, ranges, self.image)

    @property
    def largest(self) -> int:
        """The largest integer of a weight."""
        return LARGEST[self._ranges.bits]

    def simulation(self) -> "simulations.Simulation":
        """Return a simulation of the int8 files."""
        return simulations.of_trained(self._model, self._ranges)

    def keep_float(self, exported: "Model", batch_size: int) -> KeepFloat | None:
        """Return which operators of a file stay float, as they were trained; None if none do.

        Args:
            exported: Folded, what the float file is made from.
            batch_size: Of the file.
        """
        kept = self._ranges.in_float
        if not kept:
            return None
        own = {floats.BETWEEN, floats.NORMED, floats.UNKNOWN, floats.CUT}  # no layer's
        images = np.repeat(self.image, batch_size, axis=0)
        required = tuple(dict.fromkeys(kept[name] for name in kept if kept[name] not in own))
        return KeepFloat(images, tuple(operations(exported.module, images)), kept, required)

    def match(self, tensors: "Iterable[tuple[str, NDArray[np.floating]]]") -> Matched:
        """Return the ranges of those tensors that are activations of the simulation.

        Args:
            tensors: Names and values of a float file's tensors on ``image``.
        """
        found: dict[str, tuple[float, float]] = {}
        covered: set[str] = set()
        for name, values in tensors:
            own = Fingerprint.of(values)
            equal = [known for known in self._known if known.fingerprint.same(own)]
            if equal:
                found[name] = equal[0].range
                covered.update(known.name for known in equal)
        missing = tuple(known.name for known in self._known if known.name not in covered)
        note = f"trained ranges of {len(covered)} of {len(self._known)} activations are in the file"
        return Matched(found, missing, note + (f", not of {', '.join(missing)}" if missing else ""))


def _activations(
    model: "Model", ranges: "Ranges", image: "NDArray[np.float32]"
) -> list[Activation]:
    import torch

    found: list[Activation] = []

    def look(node: "Node", output: object, _: tuple[object, ...]) -> None:
        if node.name in ranges.activations and isinstance(output, torch.Tensor):
            own = Fingerprint.of(output.numpy())
            found.append(Activation(node.name, ranges.activations[node.name], own))

    graph_run.runner(simulations.folded(model.module), look)(torch.from_numpy(image))
    return found
