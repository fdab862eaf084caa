"""Activation boundaries: match which neurons are active, by a margin.

The student's map, through a learned 1x1 convolution with batch norm, is pushed past ``margin``
where the teacher's ``(N, C, H, W)`` is positive and below ``-margin`` elsewhere: a squared hinge,
mean over all elements, summed over the pairs. A map has the same boundary after its ReLU as before.

Source: Heo et al., Knowledge Transfer via Distillation of Activation Boundaries
(https://arxiv.org/abs/1811.03233); computed by torchdistill's ``AltActTransferLoss`` and divided
by the number of elements of a sample's map. Here it acts during the whole training, not in a
stage before it.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=10.0)


class Options(Block):
    """What can be set.

    Attributes:
        margin: How far on its side of the boundary a response must lie.
    """

    margin: Positive = 1.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with one connector per pair."""
    from torch import nn

    from squeeze.distillation import mid_level, parts

    hinge = mid_level.several(
        "AltActTransferLoss", 1, {"margin": options.margin, "reduction": "mean"}
    )
    connectors = nn.ModuleList(
        parts.regressor(s.shape[1], t.shape[1])
        for s, t in zip(student.maps, teacher.maps, strict=True)
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for connector, s, t in zip(connectors, student.maps, teacher.maps, strict=True):
            total = total + hinge([connector(s)], [t]) / t[0].numel()
        return total

    return parts.Term(compute, connectors)
