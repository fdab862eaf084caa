"""What every loss file declares, and what its losses are given. It imports no torch.

A loss file holds ``TRAITS`` (:class:`Traits`), ``Options`` (a ``Block`` whose keys a recipe may
set) and ``build(options, student, teacher)``, which gets the views of a dry run (two samples, no
gradients) to read shapes from and returns a :class:`squeeze.distillation.parts.Term`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec


@dataclass(frozen=True)
class Traits:
    """What a loss needs, so that a recipe can be checked before anything runs.

    Attributes:
        needs: ``logits``, feature ``maps`` of layer pairs, or one ``vectors`` per sample.
        weight: Used when the recipe gives none: of the order of the paper's or its code's, adjusted
            where a short sweep (``benchmarks/distillation.py``, with a seed that is not in the
            table) gave better results.
        levels: Which of the suggested layer pairs it takes when the recipe names none.
        min_batch: 2 when samples are compared with one another or normalised together.
        min_layers: How many pairs it takes at least.
        max_layers: How many at most; any number when None.
        task: ``classification`` or ``detection`` where it is for one of them only.
    """

    needs: Literal["logits", "maps", "vectors"]
    weight: float = 1.0
    levels: Literal["all", "middle", "last"] = "all"
    min_batch: int = 1
    min_layers: int = 1
    max_layers: int | None = None
    task: Literal["classification", "detection"] | None = None


@dataclass(frozen=True)
class Views:
    """What a loss sees of one model in one forward pass.

    Attributes:
        images: The batch ``(N, C, H, W)``.
        logits: ``(N, classes)``; of a detector those of all places ``(N, A, columns)``.
        maps: Outputs of the layer pairs ``(N, C_i, H_i, W_i)``, shallow to deep; the two models'
            maps of a pair have been pooled to the smaller of their sizes.
        vectors: ``(N, D_i)`` per pair, or the classifier's input when the recipe names no layers.
        look: Runs the model once more on other images, for example rotated ones.
        classifier: The model's last linear layer, if there is one.
        outputs: All outputs of a detector, the logits first; empty for a classifier.
        detector: How they are read.
    """

    images: "Tensor"
    logits: "Tensor"
    maps: "tuple[Tensor, ...]"
    vectors: "tuple[Tensor, ...]"
    look: "Callable[[Tensor], Views]"
    classifier: "Callable[[Tensor], Tensor] | None" = None
    outputs: "tuple[Tensor, ...]" = ()
    detector: "DetectorSpec | None" = None


class NoOptions(Block):
    """The options of a loss that has none."""
