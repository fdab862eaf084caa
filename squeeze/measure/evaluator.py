"""What measuring needs of a task: how to read outputs, and how to score what was read."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from squeeze.data.splits import Split
    from squeeze.results import AccuracyBlock, ChangeBlock, PictureBlock
    from squeeze.runtimes.base import Outputs

Predictions = Any
"""What a task reads from outputs, one entry per image; only the task looks into it."""


class Evaluator(Protocol):
    """Reads outputs and scores what it has read."""

    @property
    def METRIC(self) -> str:  # noqa: N802
        """Name of the figure that stands for a model's accuracy, for example ``top-1``."""
        ...

    @property
    def DECODES(self) -> bool:  # noqa: N802
        """Whether reading outputs is work that an application has to do too."""
        ...

    def predictions(self, outputs: "Outputs") -> Predictions:
        """Reduce raw outputs of a batch to what scoring needs."""
        ...

    def score(self, predictions: Predictions, split: "Split") -> "AccuracyBlock":
        """Compare the predictions for a whole split with its labels."""
        ...

    def compare(self, before: Predictions, after: Predictions, split: "Split") -> "ChangeBlock":
        """Compare the predictions of two models on the same samples."""
        ...

    def agreement(self, before: Predictions, after: Predictions) -> float:
        """Return the share of one model's predictions that another one shares, [0, 1]."""
        ...

    def changed(
        self, before: Predictions, after: Predictions, split: "Split"
    ) -> "Iterator[PictureBlock]":
        """Yield some images on which two models differ, those most worth a look first."""
        ...
