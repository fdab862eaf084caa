"""Object detection: raw outputs of heads, boxes as labels, COCO's average precision."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, cast

from squeeze.core.boxes import Boxes, Detections
from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError
from squeeze.recipe.two_stage import NO_TRAINING
from squeeze.runtimes.base import several
from squeeze.tasks.detection import SPEC, average_precision, decoding, metrics, nms_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from squeeze.data.splits import Split
    from squeeze.recipe.schema import InputSpec
    from squeeze.results import DetectionAccuracy, DetectionChange, DetectionPicture
    from squeeze.runtimes.base import Outputs
    from squeeze.tasks.base import ModuleOutputs

_BATCH = 32


def open_task(spec: "InputSpec") -> "Detection":
    """Return the task for models that are fed like this."""
    return Detection((spec.shape[1], spec.shape[2]))


@dataclass(frozen=True)
class Detection:
    """The task, for detectors of one kind.

    Attributes:
        size: Height and width of the model's input.
        spec: How outputs are read; None before a model is known.
        ends_at_boxes: Whether outputs are those of a file with suppression inside.
    """

    size: tuple[int, int]
    spec: DetectorSpec | None = None
    ends_at_boxes: bool = False

    METRIC: str = SPEC.main.label
    DECODES: bool = SPEC.decodes

    def of(self, module: "nn.Module") -> "Detection":
        """Return the task for this module's outputs; what carries no spec is read as before."""
        spec = getattr(module, "detector", None)
        return replace(self, spec=spec) if isinstance(spec, DetectorSpec) else self

    def check_model(self, module: "nn.Module", spec: "InputSpec", classes: int) -> None:
        """Run the detector once and compare its outputs with its spec and the data.

        Raises:
            InputError: It is not a detector, does not run, or has another number of classes.
        """
        if spec.fit == "crop":
            raise InputError(
                "is crop, which cuts off objects at the borders",
                where="model.input.fit",
                hint="set fit: letterbox, or fit: stretch",
            )
        found = decoding.check_module(module, self.size, spec.shape[0])
        if found.classes != classes:
            raise InputError(
                f"the detector has {found.classes} classes and the data has {classes}",
                where="model",
                hint=f"set model.args.num_classes for {classes} classes, with weights for them; or "
                "name the detector's classes in order, also those that the data lacks: "
                "data.validation.classes",
            )

    def loss(
        self,
        outputs: "ModuleOutputs",
        labels: "Sequence[Boxes]",
        *,
        label_smoothing: float,
        focal_gamma: float = 0.0,
    ) -> "Tensor":
        """Return the mean loss of a batch; its parameters are in the spec.

        Args:
            outputs: The module's ``(N, A, columns)``, ``(N, A, 4)`` and maybe ``(N, A, 1)``.
            labels: N ``Boxes`` in pixels of the input.
            label_smoothing: Must be 0.
            focal_gamma: Must be 0: the losses of heads have their own.

        Raises:
            InputError: One of the two is set, or the detector has two stages.
        """
        if label_smoothing or focal_gamma:
            raise InputError("label_smoothing and focal_gamma are for classification")
        from squeeze.tasks.detection.decoders import base as decoders
        from squeeze.tasks.detection.loss import base as losses

        spec = self._known()
        if spec.decoder == "two_stage":
            raise InputError(NO_TRAINING)
        heads = cast("tuple[Tensor, ...]", outputs)
        places = decoders.places(spec, self.size, heads[0])
        targets = losses.targets_of(labels, spec, heads[0])
        of_decoder = import_module(f"squeeze.tasks.detection.loss.{spec.decoder}")
        found: Tensor = of_decoder.loss(heads, targets, places, spec)
        return found

    def predictions(self, outputs: "Outputs") -> list[Detections]:
        """Decode a batch's outputs: detections per image, in pixels of the input."""
        if self.ends_at_boxes:
            return nms_file.detections(several(outputs))
        return decoding.detections(several(outputs), self._known(), self.size)

    def score(self, predictions: "Sequence[Detections]", split: "Split") -> "DetectionAccuracy":
        """Return average precisions, in pixels of the pictures."""
        return metrics.score(_back(predictions, split), split.truth, split.samples.classes)

    def compare(
        self, before: "Sequence[Detections]", after: "Sequence[Detections]", split: "Split"
    ) -> "DetectionChange":
        """Return the paired change of average precision."""
        both = _back(before, split), _back(after, split)
        return metrics.compare(*both, split.truth, len(split.samples.classes))

    def agreement(self, before: "Sequence[Detections]", after: "Sequence[Detections]") -> float:
        """Return the share of one model's confident detections that another one has too."""
        return metrics.agreement(before, after)

    def changed(
        self, before: "Sequence[Detections]", after: "Sequence[Detections]", split: "Split"
    ) -> "Iterator[DetectionPicture]":
        """Yield the images whose detections differ most."""
        return metrics.changed(before, after, split)

    def evaluate(self, module: "nn.Module", split: "Split", device: str) -> float:
        """Return mAP in [0, 1] in torch; 0 where the split has no box."""
        import torch

        module.eval()
        found: list[Detections] = []
        with torch.inference_mode():
            for images, _ in split.batches(_BATCH):
                outputs = module(torch.from_numpy(images).to(device))
                found += self.predictions(tuple(part.float().cpu().numpy() for part in outputs))
        truth = split.truth
        if not any((~boxes.ignored).any() for boxes in truth):
            return 0.0
        return average_precision.score(_back(found, split), truth, split.samples.classes).map

    def _known(self) -> DetectorSpec:
        if self.spec is None:
            raise InputError(
                "the model has no DetectorSpec",
                where="model",
                hint="set its attribute 'detector' in your factory",
            )
        return self.spec


def _back(found: "Sequence[Detections]", split: "Split") -> list[Detections]:
    return [each.back(split.placement(place)) for place, each in enumerate(found)]
