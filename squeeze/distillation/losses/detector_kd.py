"""Imitate a detector's outputs: its classes everywhere, and its boxes where it detects something.

Classes: where each is scored by itself (sigmoid), the quality focal loss towards the teacher's
probabilities, sum |p_t - p_s|^2 * BCE(p_s, p_t); over all columns (softmax), ``T^2 * KL``. Boxes:
the absolute difference of the regressions, each place weighted by the teacher's best probability.
Both are divided by the sum of these weights, the teacher's count of objects.

Source: Li et al., Generalized Focal Loss, equation 5 (https://arxiv.org/abs/2006.04388); used to
imitate predictions of dense detectors by Wang et al., CrossKD (https://arxiv.org/abs/2306.11369).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="detection")


class Options(Block):
    """What can be set.

    Attributes:
        temperature: For heads with a softmax: softens both distributions.
        box_weight: Weight of the boxes beside the classes.
    """

    temperature: Positive = 2.0
    box_weight: NonNegative = 1.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from torch.nn import functional

    from squeeze.distillation import parts
    from squeeze.tasks.detection.decoders import base

    def compute(student: Views, teacher: Views, labels: object) -> "Tensor":
        del labels
        spec = teacher.detector
        if spec is None:
            raise ValueError("the teacher is not a detector")
        weights = base.probabilities(teacher.outputs, spec).amax(dim=-1)
        objects = weights.sum().clamp(min=1.0)
        if spec.scores == "sigmoid":
            goal, own = teacher.logits.sigmoid(), student.logits
            each = functional.binary_cross_entropy_with_logits(own, goal, reduction="none")
            classes = ((goal - own.sigmoid()).abs() ** 2 * each).sum()
        else:
            soft = options.temperature
            own, goal = (view.logits / soft for view in (student, teacher))
            classes = soft**2 * functional.kl_div(
                own.log_softmax(-1), goal.log_softmax(-1), reduction="sum", log_target=True
            )
        away = (student.outputs[1] - teacher.outputs[1]).abs().mean(dim=-1)
        return (classes + options.box_weight * (weights * away).sum()) / objects

    return parts.Term(compute)
