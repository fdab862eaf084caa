"""How accurate a model is, by task, how that changed against another one, and examples of it.

Every block names its ``kind``, by which ``results.json`` is read back.
"""

from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field

from squeeze.recipe.schema import Block


class Estimate(Block):
    """A figure with its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __neg__(self) -> "Estimate":
        """Return the figure with the other sign: a drop as a change."""
        return Estimate(value=0.0 - self.value, low=0.0 - self.high, high=0.0 - self.low)

    def at(self, confidence: float) -> "Estimate":
        """Return the figure with the interval of another confidence.

        Both arms are stretched as those of a normal distribution, which is exact for paired changes
        (Agresti and Min) and close for Wilson's and for bootstrapped intervals.

        Args:
            confidence: In (0, 1).
        """
        stretch = _quantile(confidence) / _quantile(CONFIDENCE)
        return Estimate(
            value=self.value,
            low=self.value - stretch * (self.value - self.low),
            high=self.value + stretch * (self.high - self.value),
        )


CONFIDENCE = 0.95
"""Of every interval in ``results.json`` and in reports."""


def _quantile(confidence: float) -> float:
    """Return how many standard deviations a two-sided interval reaches to each side."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


_CHANCE = 0.05
_ALMOST_NOTHING = 0.01


class ClassificationAccuracy(Block):
    """Shares of samples whose label is the best prediction, or among the best five.

    Attributes:
        kind: The task, which says how the block is read.
        samples: Number of samples that were judged.
        top1: Share with the label as best answer, [0, 1].
        top5: Share with the label among the best five, [0, 1].
        guess: Top-1 of always answering the most frequent class of these samples.
        guess_p: Probability that such guessing, at random, is right this often or more (one-sided
            binomial test).
        constant: Whether every sample was given the same class.
    """

    kind: Literal["classification"] = "classification"
    samples: int
    top1: Estimate
    top5: Estimate
    guess: float = 0.0
    guess_p: float = 0.0
    constant: bool = False

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the figures say nothing about what was learned; each continues a model's name."""
        found = []
        if self.constant:
            found.append(f"predicts the same class for all {self.samples} samples")
        if self.guess_p > _CHANCE:
            found.append(
                f"is no better than chance: top-1 is {self.top1.value:.1%}, always predicting the "
                f"most frequent class gives {self.guess:.1%} (binomial test, p = "
                f"{self.guess_p:.2f}, {self.samples} samples)"
            )
        return tuple(found)

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The main figure, with its name."""
        return "top-1", self.top1

    @property
    def figures(self) -> dict[str, Estimate]:
        """Every figure with an interval, by its name in reports."""
        return {"top-1": self.top1, "top-5": self.top5}

    def figure(self, metric: str) -> Estimate | None:
        """Return the figure that a gate's metric names; None for a metric of another task."""
        return {"top1": self.top1, "top5": self.top5}.get(metric)


class ClassPrecision(Block):
    """Average precision of one class of objects; None where the set has no box of it.

    Attributes:
        name: The class.
        boxes: Number of annotated boxes of the class.
        ap: Average precision, mean over IoU 0.5, 0.55, … 0.95, [0, 1].
        ap50: Average precision at IoU 0.5, [0, 1].
        voc_ap50: Average precision at IoU 0.5 by VOC's rule, [0, 1].
        curve: Precision at the recalls 0, 0.01, … 1 for IoU 0.5.
    """

    name: str
    boxes: int
    ap: float | None
    ap50: float | None
    voc_ap50: float | None
    curve: tuple[float, ...]


class DetectionAccuracy(Block):
    """COCO's average precisions, on images of their own size.

    Attributes:
        kind: The task, which says how the block is read.
        samples: Number of images that were judged.
        boxes: Number of annotated boxes in them.
        map: Mean over classes and over IoU 0.5, 0.55, … 0.95; intervals by drawing images.
        ap50: Mean average precision at IoU 0.5; intervals by drawing images.
        ap75: Mean average precision at IoU 0.75.
        small: mAP of boxes below 32² pixels; None without any.
        medium: mAP of boxes from 32² to 96² pixels; None without any.
        large: mAP of boxes above 96² pixels; None without any.
        recall: Recall of the best 100 detections per image, mean over the same thresholds.
        voc_ap50: Mean over classes of VOC's AP at IoU 0.5.
        per_class: Average precisions of each class.
    """

    kind: Literal["detection"] = "detection"
    samples: int
    boxes: int
    map: Estimate
    ap50: Estimate
    ap75: float
    small: float | None
    medium: float | None
    large: float | None
    recall: float
    voc_ap50: float
    per_class: tuple[ClassPrecision, ...]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the figures say nothing about what was learned; each continues a model's name."""
        if self.map.value >= _ALMOST_NOTHING:
            return ()
        return (f"detects almost nothing: mAP is {self.map.value:.1%}",)

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The main figure, with its name."""
        return "mAP", self.map

    @property
    def figures(self) -> dict[str, Estimate]:
        """Every figure with an interval, by its name in reports."""
        return {"mAP": self.map, "AP50": self.ap50}

    def figure(self, metric: str) -> Estimate | None:
        """Return the figure that a gate's metric names; None for a metric of another task."""
        return {"map": self.map, "ap50": self.ap50}.get(metric)


class ClassChange(Block):
    """One class of the labels, against the baseline.

    Attributes:
        name: The class.
        samples: Number of samples with this label.
        before: How many of them the baseline gets right.
        after: How many of them this model gets right.
        drop: Share that the baseline gets right minus that of this model, with the paired interval.
    """

    name: str
    samples: int
    before: int
    after: int
    drop: Estimate


class ConfusionChange(Block):
    """How often one class is taken for another one, against the baseline.

    Attributes:
        label: The class of the samples.
        predicted: The class that they are given.
        before: How many by the baseline.
        after: How many by this model.
    """

    label: str
    predicted: str
    before: int
    after: int


class ClassificationChange(Block):
    """Against the baseline in the same runtime, on the same samples.

    Attributes:
        kind: The task, which says how the block is read.
        drop: Top-1 of the baseline minus top-1 here, with the paired interval.
        top5_drop: Top-5 of the baseline minus top-5 here, with the paired interval.
        agreement: Share of samples on which both predict the same class, with Wilson's interval.
        regressions: Samples that only the baseline gets right.
        fixes: Samples that only this model gets right.
        per_class: Every class that has samples, that which lost most first.
        confusions: The twenty pairs of classes whose confusion changed most.
    """

    kind: Literal["classification"] = "classification"
    drop: Estimate
    top5_drop: Estimate
    agreement: Estimate
    regressions: int
    fixes: int
    per_class: tuple[ClassChange, ...] = ()
    confusions: tuple[ConfusionChange, ...] = ()

    def drop_of(self, metric: str) -> Estimate | None:
        """Return the drop of a gate's metric; None for a metric of another task."""
        return {"top1": self.drop, "top5": self.top5_drop}.get(metric)


class DetectionChange(Block):
    """Against the baseline in the same runtime, on the same images.

    Attributes:
        kind: The task, which says how the block is read.
        drop: mAP of the baseline minus mAP here; the interval is that of a paired bootstrap over
            images.
        ap50_drop: AP50 of the baseline minus AP50 here, with the interval of the same bootstrap.
        agreement: Share of the baseline's detections of score 0.3 and more that this model has too:
            of the same class, score 0.3 and more, and an IoU of at least 0.5. Its interval is that
            of a bootstrap over images.
    """

    kind: Literal["detection"] = "detection"
    drop: Estimate
    ap50_drop: Estimate
    agreement: Estimate

    def drop_of(self, metric: str) -> Estimate | None:
        """Return the drop of a gate's metric; None for a metric of another task."""
        return {"map": self.drop, "ap50": self.ap50_drop}.get(metric)


class ClassificationPicture(Block):
    """A validation image that the final model gets wrong and the baseline right, or the reverse.

    Attributes:
        kind: The task, which says how the block is read.
        name: The sample's name, a file's path for example.
        label: Its class.
        baseline: Class that the baseline gives it.
        candidate: Class that the final model gives it.
        png: The picture, a PNG in Base64.
    """

    kind: Literal["classification"] = "classification"
    name: str
    label: str
    baseline: str
    candidate: str
    png: str


class DetectionPicture(Block):
    """A validation image in which the baseline and the final model find different objects.

    Attributes:
        kind: The task, which says how the block is read.
        name: The image's name, a file's path for example.
        objects: Number of annotated boxes.
        baseline: How many it has right, wrong and missed.
        candidate: The same of the final model.
        png: A PNG in Base64: the baseline's detections and the final model's, side by side.
    """

    kind: Literal["detection"] = "detection"
    name: str
    objects: int
    baseline: str
    candidate: str
    png: str


_BY_KIND = Field(discriminator="kind")
AccuracyBlock = Annotated[ClassificationAccuracy | DetectionAccuracy, _BY_KIND]
ChangeBlock = Annotated[ClassificationChange | DetectionChange, _BY_KIND]
PictureBlock = Annotated[ClassificationPicture | DetectionPicture, _BY_KIND]
