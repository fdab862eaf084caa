"""Softmax regression: the teacher's own classifier must understand the student's features.

A learned linear map (where widths differ) brings the student's vectors ``(N, D_s)`` to the
teacher's width; ``match`` times their mean squared error, plus ``regress`` times the KL divergence
between the teacher's probabilities and those that its frozen classifier gives to the mapped
vectors; means over the batch. Not in torchdistill.

Source: Yang et al., Knowledge Distillation via Softmax Regression Representation Learning (https://openreview.net/forum?id=ZzwDy_wiWv).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", max_layers=1)


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens both distributions of the second term.
        match: Weight of the squared error between the vectors.
        regress: Weight of the second term, the teacher's classifier on the student's vectors.
    """

    temperature: Positive = 1.0
    match: NonNegative = 1.0
    regress: NonNegative = 1.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with its connector.

    Raises:
        InputError: The teacher has no linear classifier, or layers other than its input are paired.
    """
    from torch.nn import functional

    from squeeze.core.errors import InputError
    from squeeze.distillation import parts

    if teacher.classifier is None:
        raise InputError("needs a teacher whose last layer is a linear classifier", where="srrl")
    try:
        teacher.classifier(teacher.vectors[0])
    except RuntimeError as error:
        raise InputError(
            f"the paired teacher layer returns {teacher.vectors[0].shape[1]} features, which are "
            "not its classifier's input",
            where="srrl",
            hint="leave 'layers' out",
        ) from error
    connector = parts.width_adapter(student.vectors[0].shape[1], teacher.vectors[0].shape[1])

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        mapped, goal = connector(student.vectors[0]), teacher.vectors[0]
        total = options.match * functional.mse_loss(mapped, goal)
        if options.regress and teacher.classifier is not None:
            found, wanted = (
                functional.log_softmax(logits / options.temperature, dim=1)
                for logits in (teacher.classifier(mapped), teacher.logits)
            )
            divergence = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
            total = total + options.regress * options.temperature**2 * divergence
        return total

    return parts.Term(compute, connector)
