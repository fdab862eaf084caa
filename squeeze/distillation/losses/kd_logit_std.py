"""Knowledge distillation on logits standardised per sample, so that only their pattern counts.

Logits ``(N, classes)`` are centred and divided by their standard deviation over the classes, then
``T^2 * KL``, mean over the batch.

Source: Sun et al., Logit Standardization in Knowledge Distillation
(https://arxiv.org/abs/2403.01427); computed by torchdistill's ``LogitStdKDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="classification", weight=4.0)


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens both distributions; standardised logits need less than those of ``kd``.
    """

    temperature: Positive = 2.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import mid_level, parts

    divergence = mid_level.single(
        "LogitStdKDLoss", {"temperature": options.temperature, "alpha": 0.0}
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        return options.temperature**2 * divergence(student.logits, teacher.logits)

    return parts.Term(compute)
