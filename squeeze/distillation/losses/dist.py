"""DIST: correlate the class probabilities within each sample and within each class.

``T^2 * (beta * inter + gamma * intra)``, where ``inter`` is one minus the Pearson correlation of
the rows of the ``(N, classes)`` probabilities and ``intra`` that of their columns.

Source: Huang et al., Knowledge Distillation from A Stronger Teacher
(https://arxiv.org/abs/2205.10536); computed by torchdistill's ``DISTLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="classification", min_batch=2, weight=0.2)


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens both distributions: 1 keeps probabilities as they are.
        beta: Weight of the samples' correlations.
        gamma: Weight of the classes' correlations.
    """

    temperature: Positive = 4.0
    beta: NonNegative = 2.0
    gamma: NonNegative = 2.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import mid_level, parts

    correlate = mid_level.single(
        "DISTLoss", {"tau": options.temperature, "beta": options.beta, "gamma": options.gamma}
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        return correlate(student.logits, teacher.logits)

    return parts.Term(compute)
