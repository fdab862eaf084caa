"""Correlation congruence: match the correlations between the samples of a batch.

The vectors ``(N, D)`` are scaled to length one; the ``(N, N)`` matrices of a Gaussian kernel (by
its Taylor series) or of inner products are compared: Frobenius norm of the difference over ``N^2``.
No embedding is learned, since the matrices have the same size whatever the widths.

Source: Peng et al., Correlation Congruence for Knowledge Distillation
(https://arxiv.org/abs/1904.01802); computed by torchdistill's ``CCKDLoss``.
"""

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Count, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2, weight=200.0)


class Options(Block):
    """What can be set.

    Attributes:
        kernel: What the matrices hold: a Gaussian kernel or inner products.
        gamma: Factor in the Gaussian's exponent.
        order: Order of the Gaussian's Taylor series.
    """

    kernel: Literal["gaussian", "bilinear"] = "gaussian"
    gamma: Positive = 0.4
    order: Count = 2


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from torch.nn import functional

    from squeeze.distillation import mid_level, parts

    kernel = {"type": options.kernel, "gamma": options.gamma, "max_p": options.order}
    congruence = mid_level.single("CCKDLoss", {"kernel_config": kernel, "reduction": "batchmean"})

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for s, t in zip(student.vectors, teacher.vectors, strict=True):
            total = total + congruence(functional.normalize(s), functional.normalize(t))
        return total

    return parts.Term(compute)
