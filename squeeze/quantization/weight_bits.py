"""How many bits the weights of one trained model have, whatever files are made of it."""

from typing import TYPE_CHECKING

from squeeze.core import cpu
from squeeze.quantization import backend
from squeeze.recipe import schemes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squeeze.recipe.schema import QatStep, Target


def weight_bits(step: "QatStep", targets: "Sequence[Target]") -> int:
    """Return how many bits the weights of all files have: as few as one of the targets needs."""
    served = {
        (schemes.backend_of(step.backend, target.runtime), target.cpu)
        for target in targets
        if schemes.left_out(step, target) is None
    }
    return min(
        backend.load(name).bits(step, cpu.named(processor)) for name, processor in sorted(served)
    )
