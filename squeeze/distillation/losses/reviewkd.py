"""Knowledge review: a student's level learns from the teacher's levels up to its own.

From the deepest level upward, attention fuses the student's maps; every fused map is compared with
the teacher's of its level by the mean squared error of the maps ``(N, C, H, W)`` and of their
averages over 4x4, 2x2 and 1x1 grids, weighted 1, 1/2, 1/4, 1/8. Summed over the levels.

Source: Chen et al., Distilling Knowledge via Knowledge Review
(https://arxiv.org/abs/2104.09044); compared by torchdistill's ``HierarchicalContextLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Count

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=5.0)


class Options(Block):
    """What can be set.

    Attributes:
        width: Channels of what is handed from level to level.
    """

    width: Count = 64


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with one fusion per level."""
    from torch import nn

    from squeeze.distillation import mid_level, parts

    compare = mid_level.single("HierarchicalContextLoss", {"output_sizes": [4, 2, 1]})
    last = len(student.maps) - 1
    fusions = nn.ModuleList(
        parts.Fusion(s.shape[1], options.width, t.shape[1], deepest=level == last)
        for level, (s, t) in enumerate(zip(student.maps, teacher.maps, strict=True))
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total, carried = student.logits.new_zeros(()), None
        levels = list(zip(fusions, student.maps, teacher.maps, strict=True))
        for fusion, s, t in reversed(levels):
            fused, carried = fusion(s, carried)
            total = total + compare((fused, carried), t)
        return total

    return parts.Term(compute, fusions)
