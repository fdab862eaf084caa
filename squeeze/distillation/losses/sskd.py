"""Self-supervised distillation: match which rotated image belongs to which original.

Both models also see every image rotated by 90, 180 and 270 degrees (four times the work). Two
layers on top of each model's vectors ``(N, D)`` give embeddings; the cosine similarities of
rotated and original images are matched, and so are the softened logits of originals and rotated
images; ``similarity``, ``original`` and ``rotated`` weight the three.

Source: Xu et al., Knowledge Distillation Meets Self-Supervision
(https://arxiv.org/abs/2006.07114); computed by torchdistill's ``SSKDLoss`` and ``AuxSSKDLoss``.
Here the teacher's head learns along with the student, not in a stage before it, from the teacher's
fixed features.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="vectors", task="classification", min_batch=2, max_layers=1)
_TURNS = 4


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens the class probabilities.
        similarity_temperature: Softens the similarities.
        keep: Share of the samples that the teacher itself gets wrong to learn from.
        original: Weight of the logits of original images.
        similarity: Weight of the similarities.
        rotated: Weight of the logits of rotated images.
    """

    temperature: Positive = 4.0
    similarity_temperature: Positive = 0.5
    keep: Fraction = 0.75
    original: NonNegative = 0.9
    similarity: NonNegative = 10.0
    rotated: NonNegative = 2.7


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with its two heads.

    Raises:
        InputError: The images are not square, so that they cannot be turned.
    """
    import torch
    from torch import nn

    from squeeze.core.errors import InputError
    from squeeze.distillation import mid_level, parts

    height, width = student.images.shape[2:]
    if height != width:
        raise InputError(
            f"rotates images, which must be square, found {height}x{width}", where="sskd"
        )
    match = mid_level.self_supervised(
        temperature=options.temperature,
        similarity_temperature=options.similarity_temperature,
        keep=options.keep,
        weights=(options.original, options.similarity, options.rotated),
    )
    pretext = mid_level.auxiliary()
    heads = [
        nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        for size in (student.vectors[0].shape[1], teacher.vectors[0].shape[1])
    ]

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        turns = [torch.rot90(student.images, k, (2, 3)) for k in range(_TURNS)]
        images = torch.stack(turns, dim=1).flatten(0, 1)  # a sample's four views in a row
        own = student.look(images)
        with torch.no_grad():
            goal = teacher.look(images)
        embedding, goal_embedding = heads[0](own.vectors[0]), heads[1](goal.vectors[0])
        matched = match(own.logits, embedding, goal.logits, goal_embedding.detach(), labels)
        return matched + pretext(goal_embedding)

    return parts.Term(compute, *heads)
