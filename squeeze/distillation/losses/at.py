"""Attention transfer: match where in the image the feature maps are active.

A map ``(N, C, H, W)`` becomes the unit vector of its channel mean of squares, ``(N, H * W)``; the
squared difference is averaged (``code``) or its norm taken per sample (``paper``), and summed over
the pairs.

Source: Zagoruyko and Komodakis, Paying More Attention to Attention, section 3.1
(https://arxiv.org/abs/1612.03928); computed by torchdistill's ``ATLoss``.
"""

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=100.0)


class Options(Block):
    """What can be set.

    Attributes:
        mode: The authors' ``code`` and equation 2 of the ``paper`` differ in their scale.
    """

    mode: Literal["code", "paper"] = "code"


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del teacher
    from squeeze.distillation import mid_level, parts

    attention = mid_level.several("ATLoss", len(student.maps), {"mode": options.mode})

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        return attention(student.maps, teacher.maps)

    return parts.Term(compute)
