"""Knowledge distillation: match the softened class probabilities.

``T^2 * KL(softmax(teacher / T) || softmax(student / T))``, mean over the batch; logits
``(N, classes)``.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, section 2
(https://arxiv.org/abs/1503.02531); computed by torchdistill's ``KDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="classification")


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens both distributions: 1 keeps probabilities as they are.
    """

    temperature: Positive = 4.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import mid_level, parts

    divergence = mid_level.single("KDLoss", {"temperature": options.temperature, "alpha": 0.0})

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels  # cross-entropy on labels is weighted by the step, not in here
        return options.temperature**2 * divergence(student.logits, teacher.logits)

    return parts.Term(compute)
