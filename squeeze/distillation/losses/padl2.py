"""Prime-aware adaptive distillation: hard samples, by a learned variance, count less.

The student's vectors ``(N, D_s)``, through a linear map where widths differ, are compared with the
teacher's; ``(t - s)^2 / (eps + v) + log v``, where ``log v`` is learned from the student's vector
(linear and batch norm); mean over all elements.

Source: Zhang et al., Prime-Aware Adaptive Distillation
(https://arxiv.org/abs/2008.01458); computed by torchdistill's ``PADL2Loss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2, weight=1.0)


class Options(Block):
    """What can be set.

    Attributes:
        eps: Added to every variance.
    """

    eps: Positive = 1e-6


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with an adapter and a variance branch per pair."""
    from torch import nn

    from squeeze.distillation import mid_level, parts

    compare = mid_level.prime_aware(options.eps)
    adapters, branches = nn.ModuleList(), nn.ModuleList()
    for s, t in zip(student.vectors, teacher.vectors, strict=True):
        adapters.append(parts.width_adapter(s.shape[1], t.shape[1]))
        branches.append(
            nn.Sequential(nn.Linear(s.shape[1], t.shape[1]), nn.BatchNorm1d(t.shape[1]))
        )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        sides = zip(student.vectors, teacher.vectors, strict=True)
        for (s, t), adapter, branch in zip(sides, adapters, branches, strict=True):
            total = total + compare(adapter(s), branch(s), t)
        return total

    return parts.Term(compute, adapters, branches)
