"""The batches of an epoch: first what chance decides, drawn in one place, then the images.

Order and augmentation are drawn here, batch after batch, from one NumPy generator; making the
images of a draw takes no further chance. So neither the number of workers nor that of processes
changes a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.methods.training.augment import BatchMaker
from squeeze.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_COIN = 0.5


@dataclass(frozen=True)
class Draw:
    """What chance decided for one batch.

    Attributes:
        positions: Samples of the split ``(n,)``.
        mirrored: Which images are flipped ``(n,)``.
        moves: Row and column of the cut after padding ``(n, 2)``.
        seed: For the transforms that draw themselves.
    """

    positions: "NDArray[np.int64]"
    mirrored: "NDArray[np.bool_] | None" = None
    moves: "NDArray[np.int64] | None" = None
    seed: int | None = None


class Plan:
    """The draws of an epoch; every iteration draws a new one.

    Args:
        labels: Of all training samples ``(N,)``.
        settings: The recipe's numbers.
        rng: Decides everything.
    """

    def __init__(
        self, labels: "NDArray[np.int64]", settings: TrainSettings, rng: np.random.Generator
    ) -> None:
        self._labels, self._settings, self._rng = labels, settings, rng

    def __len__(self) -> int:
        return max(1, len(self._labels) // self._settings.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        """Draw an epoch's batches; the incomplete last one is left out."""
        size, order = self._settings.batch_size, self._order()
        for start in range(0, max(1, len(order) - size + 1), size):
            yield self._draw(order[start : start + size])

    def _order(self) -> "NDArray[np.int64]":
        count = len(self._labels)
        if not self._settings.balance_classes:
            return self._rng.permutation(count)
        shares = 1 / np.bincount(self._labels)[self._labels]
        return self._rng.choice(count, count, p=shares / shares.sum())

    def _draw(self, positions: "NDArray[np.int64]") -> Draw:
        augment, rng, count = self._settings.augment, self._rng, len(positions)
        mirrored = rng.random(count) < _COIN if augment.flip else None
        moves = rng.integers(0, 2 * augment.shift + 1, (count, 2)) if augment.shift else None
        seed = int(rng.integers(2**63)) if augment.draws_itself else None
        return Draw(positions, mirrored, moves, seed)


def epoch_of(plan: Plan, maker: BatchMaker) -> "Iterator[tuple[Tensor, Tensor]]":
    """Yield the batches of the next epoch, on the CPU."""
    for draw in plan:
        yield maker[draw]
