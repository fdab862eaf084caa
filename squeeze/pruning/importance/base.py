"""What a criterion is given, and what it returns.

A criterion is one file here with ``NEEDS_DATA`` (whether it looks at labelled images),
``IN_LOSS_UNITS`` (whether scores estimate the loss and so add up between groups) and
``scorer(evidence)``; the file's name is its name in a recipe.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import SqueezeError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.tasks.base import Labels

    Batches = Callable[[], Iterator[tuple[Tensor, Labels]]]

Scorer = Callable[[Any], "Tensor | None"]
"""A Torch-Pruning group with all its channels to a score per channel ``(channels,)``, higher kept
longer; None where the criterion does not apply."""


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes:
        module: The surveyed module, in eval mode; gradients left on it are cleared afterwards.
        labelled: Starts a pass over images ``(n, C, H, W)`` and their labels; None without data.
        loss: Outputs and labels to the mean loss.
    """

    module: "nn.Module"
    labelled: "Batches | None" = None
    loss: "Callable[[Any, Labels], Tensor] | None" = None

    def batches(self) -> "Iterator[tuple[Tensor, Tensor]]":
        """Start a pass over the samples.

        Raises:
            SqueezeError: There are none.
        """
        if self.labelled is None:
            raise SqueezeError("the criterion needs images, and there are none")
        return self.labelled()

    def loss_of(self, images: "Tensor", labels: "Labels") -> "Tensor":
        """Run the module and return the mean loss."""
        if self.loss is None:
            raise SqueezeError("the criterion needs a loss, and there is none")
        return self.loss(self.module(images), labels)
