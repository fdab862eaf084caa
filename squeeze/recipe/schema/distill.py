"""The distill step."""

from typing import Annotated, Literal

from pydantic import Field

from squeeze.recipe.schema.base import Block, NonNegative, Positive
from squeeze.recipe.schema.inputs import ModelBlock
from squeeze.recipe.schema.training import TrainSettings


class LayerPatterns(Block):
    """Layers to compare: patterns that match the same number of modules, paired in order.

    Attributes:
        teacher: Pattern of module paths in the teacher.
        student: Pattern of module paths in the student.
    """

    teacher: str
    student: str


class LossBlock(Block):
    """One distillation loss (``squeeze list losses``).

    Attributes:
        name: Name of a loss.
        weight: Its factor in the sum; the loss's default when left out.
        temperature: Of a loss that has one: 1 keeps probabilities as they are, larger values soften
            them. The loss's default when left out.
        layers: Of a loss on features: the layers to compare; the last feature map of every spatial
            stage when left out.
        options: The loss's further settings, checked against its ``Options``.
    """

    name: str
    weight: NonNegative | None = None
    temperature: Positive | None = None
    layers: Annotated[tuple[LayerPatterns, ...], Field(min_length=1)] | None = None
    options: dict[str, object] = Field(default_factory=dict)


class DistillStep(TrainSettings):
    """Train the current model, or a new one, to imitate a teacher.

    Attributes:
        method: The kind of step.
        teacher: ``baseline`` or a model block; must be given.
        student: Another architecture to train in place of the current model; it starts from the
            block's weights, or untrained by the recipe's seed. The current model when left out.
        losses: Distillation losses, summed with their weights and added to the loss on the labels.
        label_weight: Weight of the loss on the labels; 0 learns from the teacher alone.
    """

    method: Literal["distill"] = "distill"
    teacher: Literal["baseline"] | ModelBlock | None = None
    student: ModelBlock | None = None
    losses: Annotated[tuple[LossBlock, ...], Field(min_length=1)] = (LossBlock(name="kd"),)
    label_weight: NonNegative = 1.0
