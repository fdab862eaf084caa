"""Relational distillation: match distances between pairs and angles between triplets of samples.

Distances are divided by their mean over the batch; both relations of the vectors ``(N, D)`` are
compared by the Huber loss, mean over pairs and triplets. The memory grows with ``N^3``.

Source: Park et al., Relational Knowledge Distillation
(https://arxiv.org/abs/1904.05068); computed by torchdistill's ``RKDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2)


class Options(Block):
    """The weights of the two terms.

    Attributes:
        distance: Weight of the distances between pairs.
        angle: Weight of the angles in triplets.
    """

    distance: NonNegative = 25.0
    angle: NonNegative = 50.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import mid_level, parts

    relations = mid_level.single(
        "RKDLoss",
        {"dist_factor": options.distance, "angle_factor": options.angle, "reduction": "mean"},
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for s, t in zip(student.vectors, teacher.vectors, strict=True):
            total = total + relations(s, t)
        return total

    return parts.Term(compute)
