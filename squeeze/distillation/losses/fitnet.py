"""FitNet's hint: regress a teacher's feature map from the student's.

Mean squared error between the teacher's map ``(N, C, H, W)`` and the student's through a learned
1x1 convolution with batch norm. By default the middle one of the suggested pairs is taken.

Source: Romero et al., FitNets: Hints for Thin Deep Nets, equation 3
(https://arxiv.org/abs/1412.6550). Here the hint is given during the whole training, not in a stage
before it.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", levels="middle", weight=10.0)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss with one regressor per pair."""
    del options
    from torch import nn
    from torch.nn import functional

    from squeeze.distillation import parts

    regressors = nn.ModuleList(
        parts.regressor(s.shape[1], t.shape[1])
        for s, t in zip(student.maps, teacher.maps, strict=True)
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        total = student.logits.new_zeros(())
        for regressor, s, t in zip(regressors, student.maps, teacher.maps, strict=True):
            total = total + functional.mse_loss(regressor(s), t)
        del labels
        return total

    return parts.Term(compute, regressors)
