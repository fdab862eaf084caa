"""Contrastive representation distillation: tell a sample's own teacher embedding from others'.

Vectors ``(N, D)`` of both models are embedded linearly to unit length ``(N, width)``. Noise
contrastive estimation compares every embedding with ``negatives`` entries of a bank of the other
model's recent embeddings, of other labels where there are any; mean over the batch, both ways.

Source: Tian et al., Contrastive Representation Distillation
(https://arxiv.org/abs/1910.10699); computed by torchdistill's ``CRDLoss``. The bank there has one
slot per training sample; here it is a queue, since a shuffled and augmented batch comes without
sample numbers.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Count, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2, weight=0.8)


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Less sharpens the contrast.
        width: Dimensions of the embeddings.
        negatives: How many entries of the bank a sample is compared with.
        bank: Entries that the bank holds; more than a batch.
    """

    temperature: Positive = 0.07
    width: Count = 128
    negatives: Count = 256
    bank: Count = 2048


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with an embedding and a bank per model, for each layer pair."""
    from squeeze.distillation import memory_bank, parts

    banks = [
        memory_bank.MemoryBank(
            (s.shape[1], t.shape[1]),
            width=options.width,
            size=options.bank,
            negatives=options.negatives,
            temperature=options.temperature,
        )
        for s, t in zip(student.vectors, teacher.vectors, strict=True)
    ]

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        total = student.logits.new_zeros(())
        for bank, s, t in zip(banks, student.vectors, teacher.vectors, strict=True):
            total = total + bank(s, t, labels)
        return total

    return parts.Term(compute, *banks)
