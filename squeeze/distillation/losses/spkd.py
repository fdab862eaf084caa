"""Similarity-preserving: samples that the teacher finds alike are alike for the student.

The row-normalised ``(N, N)`` Gram matrices of the flattened maps are compared; squared difference
over ``N^2``. By default the last suggested pair is taken. Channels may differ.

Source: Tung and Mori, Similarity-Preserving Knowledge Distillation
(https://arxiv.org/abs/1907.09682); computed by torchdistill's ``SPKDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", levels="last", min_batch=2, weight=1000.0)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del options, student, teacher
    from squeeze.distillation import mid_level, parts

    similarity = mid_level.single("SPKDLoss", {"reduction": "batchmean"})

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for s, t in zip(student.maps, teacher.maps, strict=True):
            total = total + similarity(s, t)
        return total

    return parts.Term(compute)
