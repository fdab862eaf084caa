"""Mean distance of the logits, to a power."""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="classification")


class Options(Block):
    """``power``: 2 for the squared distance."""

    power: Positive = 2.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import parts

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        return (student.logits - teacher.logits).abs().pow(options.power).mean()

    return parts.Term(compute)
