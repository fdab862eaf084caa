"""Probabilistic knowledge transfer: match which samples are likely neighbours.

Cosine similarities of the vectors ``(N, D)``, shifted to [0, 1], become each row's distribution
over the batch; KL divergence, mean over the ``N^2`` entries.

Source: Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer
(https://arxiv.org/abs/1803.10837); computed by torchdistill's ``PKTLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2, weight=3000.0)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del options, student, teacher
    from squeeze.distillation import mid_level, parts

    neighbours = mid_level.single("PKTLoss", {})

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for s, t in zip(student.vectors, teacher.vectors, strict=True):
            total = total + neighbours(s, t)
        return total

    return parts.Term(compute)
