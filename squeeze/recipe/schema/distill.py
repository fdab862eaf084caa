"""The distill step."""

from typing import Annotated, Any, Literal

from pydantic import Field

from squeeze.recipe.schema.base import Block, NonNegative, Positive
from squeeze.recipe.schema.inputs import ModelBlock
from squeeze.recipe.schema.training import TrainSettings


class LayerPatterns(Block):
    """Layers to compare: patterns that name equally many modules, in their order.

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
        weight: Its factor in the sum; the loss's own default when left out.
        temperature: For a loss that has one: 1 keeps probabilities as they are, more softens them.
            Its own default when left out.
        layers: For a loss on features: the layers to compare. The last feature map of every spatial
            stage when left out.
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
        method: The kind of step.
        teacher: ``baseline`` or a model block; must be given.
        student: Another architecture that takes the current model's place; it starts from its
            weights, or from the recipe's seed. The current model when left out.
        losses: Added up by weight, on top of the labels' own loss.
        label_weight: Weight of the labels' own loss beside the distillation losses; 0 learns from
            the teacher alone.
    """

    method: Literal["distill"] = "distill"
    teacher: Literal["baseline"] | ModelBlock | None = None
    student: ModelBlock | None = None
    losses: Annotated[tuple[LossBlock, ...], Field(min_length=1)] = (LossBlock(name="kd"),)
    label_weight: NonNegative = 1.0
