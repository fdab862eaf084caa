"""Factor transfer: the student predicts a compressed form of the teacher's features.

A paraphraser, an autoencoder of ``rate`` times the channels, compresses the teacher's map
``(N, C, H, W)``; a translator does the same with the student's. Both factors are flattened and
scaled to length one; mean absolute difference times ``factor``. By default the last suggested pair
is taken.

Source: Kim et al., Paraphrasing Complex Network: Network Compression via Factor Transfer
(https://arxiv.org/abs/1802.04977); compared by torchdistill's ``FTLoss``. Here the paraphraser
learns to reconstruct along with the student, not in a stage before it; it gets no gradient from
the comparison.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", levels="last")


class Options(Block):
    """What can be set.

    Attributes:
        rate: Channels of the factor, as a multiple of the teacher's.
        factor: Weight of the comparison against the paraphraser's reconstruction error.
    """

    rate: Positive = 0.5
    factor: NonNegative = 200.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with a paraphraser and a translator per pair."""
    from torch import nn
    from torch.nn import functional

    from squeeze.distillation import mid_level, parts

    compare = mid_level.single("FTLoss", {})
    encoders, decoders, translators = (nn.ModuleList() for _ in range(3))
    for s, t in zip(student.maps, teacher.maps, strict=True):
        wide, narrow, own = t.shape[1], max(1, round(t.shape[1] * options.rate)), s.shape[1]
        encoders.append(parts.convolutions(wide, wide, narrow, narrow))
        decoders.append(parts.convolutions(narrow, narrow, wide, wide))
        translators.append(parts.convolutions(own, own, narrow, narrow))

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        sides = zip(student.maps, teacher.maps, strict=True)
        learned = zip(encoders, decoders, translators, strict=True)
        for (s, t), (encode, decode, translate) in zip(sides, learned, strict=True):
            factor = encode(t)
            total = total + functional.mse_loss(decode(factor), t)
            total = total + options.factor * compare(translate(s), factor.detach())
        return total

    return parts.Term(compute, encoders, decoders, translators)
