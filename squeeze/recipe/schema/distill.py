"""The distill step."""

from typing import Annotated, Any, Literal

from pydantic import Field

from squeeze.recipe.schema.base import Block, NonNegative, Positive
from squeeze.recipe.schema.inputs import ModelBlock
from squeeze.recipe.schema.training import TrainSettings


class LayerPatterns(Block):
    """Layers to compare: patterns that name equally many modules, in their order."""

    teacher: str
    student: str


class LossBlock(Block):
    """One distillation loss (``squeeze list losses``).

    Attributes:
        weight: The loss's own default when left out.
        temperature: Of a loss that has one; its own default when left out.
        layers: Of a loss on features; the last map of every spatial stage when left out.
        options: The loss's further settings, checked against its ``Options``.
    """

    name: str
    weight: NonNegative | None = None
    temperature: Positive | None = None
    layers: Annotated[tuple[LayerPatterns, ...], Field(min_length=1)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class DistillStep(TrainSettings):
    """Train the current model, or a new one, to imitate a teacher.

    Attributes:
        teacher: ``baseline`` or a model block.
        student: Another architecture that takes the current model's place; it starts from its
            weights, or from the recipe's seed. The current model when left out.
        losses: Added up by weight, on top of cross-entropy by ``label_weight``.
    """

    method: Literal["distill"] = "distill"
    teacher: Literal["baseline"] | ModelBlock | None = None
    student: ModelBlock | None = None
    losses: Annotated[tuple[LossBlock, ...], Field(min_length=1)] = (LossBlock(name="kd"),)
    label_weight: NonNegative = 1.0
