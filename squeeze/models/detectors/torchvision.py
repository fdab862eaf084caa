"""torchvision's detectors without their resizing, decoding and suppression.

What is left is a graph from images to raw outputs, which can be pruned, quantized and exported; the
numbers of what was taken away become a ``DetectorSpec``. Parameters keep torchvision's names, so
its weights fit. ``num_classes`` counts the background, as in torchvision: column 0 is never an
object's class, not even in RetinaNet and FCOS, which have no softmax.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253

from squeeze.core.detector import DetectorSpec, Level
from squeeze.models.adapters.base import Foreign
from squeeze.models.detectors.two_stage import TwoStageDetector, two_stage

if TYPE_CHECKING:
    from torch import Tensor

TWO_STAGE = ("FasterRCNN", "MaskRCNN")
BACKGROUND = 0
_SHORTEST = 1e-12


class RawDetector(nn.Module):
    """Backbone and head of a torchvision detector, ``(N, 3, H, W)`` to raw outputs.

    Attributes:
        detector: How the outputs are read.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, detector: DetectorSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.detector = detector

    def forward(self, images: "Tensor") -> "tuple[Tensor, ...]":
        """Return class logits, box regression and, for FCOS, centerness."""
        features = list(self.backbone(images).values())
        outputs = self.head(features)
        raw = (outputs["cls_logits"], outputs["bbox_regression"])
        return (*raw, outputs["bbox_ctrness"]) if self.detector.quality else raw


class VggFeatures(nn.Module):
    """The backbone of SSD300, whose first map is brought to one length at every place.

    torchvision's own divides by an expanded length, which LiteRT's converter cannot lay out with
    channels last.
    """

    def __init__(self, backbone: Foreign) -> None:
        super().__init__()
        self.scale_weight = backbone.scale_weight
        self.features = backbone.features
        self.extra = backbone.extra

    def forward(self, images: "Tensor") -> "dict[str, Tensor]":
        """Return the maps of ``(N, 3, H, W)``, finest first."""
        maps = self.features(images)
        length = maps.norm(dim=1, keepdim=True).clamp(min=_SHORTEST)
        found = [self.scale_weight.view(1, -1, 1, 1) * (maps / length)]
        for block in self.extra:
            maps = block(maps)
            found.append(maps)
        return {str(number): one for number, one in enumerate(found)}


def build(name: str, args: Mapping[str, object]) -> "RawDetector | TwoStageDetector":
    """Build one of torchvision's detectors by its name, without downloading weights.

    Args:
        name: For example ``retinanet_resnet50_fpn``.
        args: The builder's keyword arguments; ``num_classes`` counts the background.

    Raises:
        ValueError: It finds keypoints, which are no boxes.
    """
    from torchvision import models

    plain = {"weights": None, "weights_backbone": None} | dict(args)
    whole: Foreign = models.get_model_builder(name)(**plain)
    return two_stage(whole) if type(whole).__name__ in TWO_STAGE else one_stage(whole)


def one_stage(detector: Foreign) -> RawDetector:
    """Unpack a torchvision SSD, SSDlite, RetinaNet or FCOS.

    Args:
        detector: The model; its layers are reused, not copied.

    Raises:
        ValueError: It is none of these.
    """
    name = type(detector).__name__
    if name not in _SPECS:
        known = ", ".join((*_SPECS, *TWO_STAGE))
        raise ValueError(f"{name} is not a known detector, allowed: {known}")
    backbone = detector.backbone
    if type(backbone).__name__ == "SSDFeatureExtractorVGG":
        backbone = VggFeatures(backbone)
    module = RawDetector(backbone, detector.head, _SPECS[name](detector))
    return module.train(detector.training)


def _ssd(detector: Foreign) -> DetectorSpec:
    size = detector.transform.fixed_size
    size = (size[1], size[0])  # torchvision's is width first
    maps = _feature_sizes(detector.backbone, size)
    boxes = detector.anchor_generator
    steps = boxes.steps or [max(size[0] / rows, size[1] / columns) for rows, columns in maps]
    pairs = [pair.clamp(0, 1) if boxes.clip else pair for pair in boxes._wh_pairs]  # noqa: SLF001
    return DetectorSpec(
        "ssd",
        _columns(detector.head.classification_head) - 1,
        tuple(Level(float(step), _pairs(own)) for step, own in zip(steps, pairs, strict=True)),
        background=BACKGROUND,
        scores="softmax",
        step="stride" if boxes.steps else "even",
        relative=True,
        box_weights=tuple(detector.box_coder.weights),
        candidates=detector.topk_candidates,
        size=size,
        **_limits(detector),
    )


def _retinanet(detector: Foreign) -> DetectorSpec:
    return DetectorSpec(
        "retinanet",
        _columns(detector.head.classification_head) - 1,
        _levels(detector),
        background=BACKGROUND,
        offset=0.0,
        step="floor",
        box_weights=tuple(detector.box_coder.weights),
        candidates=detector.topk_candidates,
        **_limits(detector),
    )


def _fcos(detector: Foreign) -> DetectorSpec:
    return DetectorSpec(
        "anchor_free",
        _columns(detector.head.classification_head) - 1,
        _levels(detector),
        background=BACKGROUND,
        quality=True,
        offset=0.0,
        step="floor",
        candidates=detector.topk_candidates,
        **_limits(detector),
    )


_SPECS: Mapping[str, Callable[[Foreign], DetectorSpec]] = {
    "SSD": _ssd,
    "RetinaNet": _retinanet,
    "FCOS": _fcos,
}


class _Limits(TypedDict):
    score_threshold: float
    nms_iou: float
    max_detections: int


def _limits(detector: Foreign) -> _Limits:
    return {
        "score_threshold": detector.score_thresh,
        "nms_iou": detector.nms_thresh,
        "max_detections": detector.detections_per_img,
    }


def _columns(head: Foreign) -> int:
    return int(head.num_columns if hasattr(head, "num_columns") else head.num_classes)


def _levels(detector: Foreign) -> tuple[Level, ...]:
    """Return the levels of a pyramid network: its first map has a stride of 8, each next double."""
    cells = detector.anchor_generator.cell_anchors
    sides = [boxes[:, 2:] - boxes[:, :2] for boxes in cells]
    return tuple(Level(8.0 * 2**number, _pairs(own)) for number, own in enumerate(sides))


def _pairs(sides: "Tensor") -> tuple[tuple[float, float], ...]:
    return tuple((float(width), float(height)) for width, height in sides)


def _feature_sizes(backbone: nn.Module, size: tuple[int, int]) -> list[tuple[int, int]]:
    was_training = backbone.training
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, *size))
    backbone.train(was_training)
    return [(int(one.shape[-2]), int(one.shape[-1])) for one in features.values()]
