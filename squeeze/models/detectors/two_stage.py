"""torchvision's two-stage detectors, Faster R-CNN and the box branch of Mask R-CNN, as one graph.

The first stage proposes boxes, the second one cuts out the features below each and names it.
Between them boxes are decoded and suppressed, which has to happen inside the graph here: every
image has the same number of proposals, the last of which are empty where fewer remain. Only what
comes after the second stage is left to ``squeeze/tasks/detection/decoders/two_stage.py``.
Parameters keep torchvision's names, so its weights fit.

Source: Ren et al., Faster R-CNN (https://arxiv.org/abs/1506.01497); Lin et al., Feature Pyramid
Networks, equation 1 (https://arxiv.org/abs/1612.03144); He et al., Mask R-CNN, section 3 on
RoIAlign (https://arxiv.org/abs/1703.06870).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253

from squeeze.core.detector import DetectorSpec, Level
from squeeze.models.adapters.base import Foreign
from squeeze.models.detectors.suppression import suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

BACKGROUND = 0
_NEVER = -6e4
"""A logit that no head gives, and finite: quantizers refuse infinite values."""
_PROBE = 128
"""Side of an input that all strides divide."""
_MASKS = ("roi_heads.mask_head.", "roi_heads.mask_predictor.")


@dataclass(frozen=True)
class Pooling:
    """How the features below a proposal are cut out.

    Attributes:
        maps: Names of the feature maps of the pyramid.
        cells: Height and width of what is cut out.
        samples: Points per cell and direction.
        canonical_side: Side in pixels of the proposals that belong to ``canonical_level``.
        canonical_level: Logarithm to base 2 of that level's stride.
    """

    maps: tuple[str, ...]
    cells: tuple[int, int]
    samples: int
    canonical_side: float
    canonical_level: int


class Proposer(nn.Module):
    """The first stage.

    Attributes:
        reading: How its head is read: a detector of one class, "object".
    """

    def __init__(self, head: nn.Module, reading: DetectorSpec, smallest: float) -> None:
        super().__init__()
        self.head = head
        self.reading = reading
        self.smallest = smallest

    def forward(self, features: "list[Tensor]", size: "Sequence[int]") -> "Tensor":
        """Return proposals ``(N, P, 5)`` of an input of this height and width, best first."""
        objectness, deltas = self.head(features)
        return proposed(objectness, deltas, size, self.reading, self.smallest)


class BoxBranch(nn.Module):
    """The second stage."""

    def __init__(self, box_head: nn.Module, box_predictor: Foreign, pooling: Pooling) -> None:
        super().__init__()
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.pooling = pooling

    def forward(
        self, features: "dict[str, Tensor]", proposals: "Tensor", size: "Sequence[int]"
    ) -> "tuple[Tensor, Tensor]":
        """Return class logits ``(N, P, columns)`` and regression ``(N, P, 4 * columns)``."""
        maps = [features[name] for name in self.pooling.maps]
        # as in torchvision, no gradient flows back through where a proposal lies
        below = self.box_head(pooled(maps, proposals.detach(), size, self.pooling))
        # the predictor's own forward looks at the number of dimensions, which torch.fx cannot
        predictor, places = self.box_predictor, (proposals.shape[0], proposals.shape[1], -1)
        logits, regression = predictor.cls_score(below), predictor.bbox_pred(below)
        return logits.reshape(places), regression.reshape(places)


class TwoStageDetector(nn.Module):
    """Backbone and both stages, ``(N, 3, H, W)`` to raw outputs.

    Attributes:
        detector: How the outputs are read.
        unused_weights: How names of tensors begin that its files of weights may hold besides.
    """

    def __init__(
        self, backbone: nn.Module, rpn: Proposer, roi_heads: BoxBranch, detector: DetectorSpec
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.rpn = rpn
        self.roi_heads = roi_heads
        self.detector = detector
        self.unused_weights = _MASKS

    def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """Return class logits, box regression of every class, and proposals ``(N, P, 5)``."""
        size = images.shape[-2:]
        features = self.backbone(images)
        proposals = self.rpn(list(features.values()), size)
        logits, regression = self.roi_heads(features, proposals, size)
        return logits, regression, proposals


def two_stage(detector: Foreign) -> TwoStageDetector:
    """Unpack a torchvision Faster R-CNN or Mask R-CNN, whose masks are dropped.

    Args:
        detector: The model; its layers are reused, not copied.
    """
    rpn, boxes = detector.rpn, detector.roi_heads
    strides = _strides(detector.backbone)
    reading = _first_stage(rpn, strides)
    spec = DetectorSpec(
        "two_stage",
        boxes.box_predictor.cls_score.out_features - 1,
        background=BACKGROUND,
        scores="softmax",
        box_weights=tuple(boxes.box_coder.weights),
        score_threshold=boxes.score_thresh,
        candidates=reading.max_detections,
        nms_iou=boxes.nms_thresh,
        max_detections=boxes.detections_per_img,
    )
    module = TwoStageDetector(
        detector.backbone,
        Proposer(rpn.head, reading, rpn.min_size),
        BoxBranch(boxes.box_head, boxes.box_predictor, _pooling(boxes.box_roi_pool, strides)),
        spec,
    )
    return module.train(detector.training)


def _first_stage(rpn: Foreign, strides: dict[str, float]) -> DetectorSpec:
    """Return how the first stage is read: a detector of one class, "object"."""
    levels = zip(strides.values(), rpn.anchor_generator.cell_anchors, strict=True)
    return DetectorSpec(
        "retinanet",
        1,
        tuple(
            Level(stride, tuple((float(w), float(h)) for w, h in own[:, 2:] - own[:, :2]))
            for stride, own in levels
        ),
        offset=0.0,
        step="floor",
        score_threshold=rpn.score_thresh,
        candidates=rpn._pre_nms_top_n["testing"],  # noqa: SLF001
        nms_iou=rpn.nms_thresh,
        max_detections=rpn._post_nms_top_n["testing"],  # noqa: SLF001
    )


@torch.fx.wrap
def proposed(
    objectness: "Sequence[Tensor]",
    deltas: "Sequence[Tensor]",
    size: "Sequence[int]",
    reading: DetectorSpec,
    smallest: float,
) -> "Tensor":
    """Decode and suppress what the first stage found.

    Args:
        objectness: Per level ``(N, anchors, rows, columns)``, logits.
        deltas: Per level ``(N, anchors * 4, rows, columns)``.
        size: Height and width of the input.
        reading: Anchors; ``candidates`` of each level go into suppression, which is done level by
            level, and at most ``max_detections`` remain.
        smallest: Boxes with a shorter side are removed, in pixels.

    Returns:
        ``(N, P, 5)``: xyxy in pixels and the probability of an object, best first; zeros where
        fewer remain. P depends on ``size`` only.
    """
    boxes, logits = [], []
    anchors = reading.anchors((int(size[0]), int(size[1])))
    for level, own, regressed in zip(anchors, objectness, deltas, strict=True):
        best, shifts, places = _best(own, regressed, torch.from_numpy(level), reading.candidates)
        found = _decoded(shifts, places, size)
        sides = found[..., 2:] - found[..., :2]
        real = (sides >= smallest).all(-1) & (best.sigmoid() >= reading.score_threshold)
        # what is not real becomes empty, so that it suppresses nothing
        found = found * real.unsqueeze(-1)
        stay = suppress(found.detach(), best.detach(), reading.nms_iou) & real
        boxes.append(found)
        logits.append(best.masked_fill(~stay, _NEVER))
    all_boxes, all_logits = torch.cat(boxes, 1), torch.cat(logits, 1)
    best, order = all_logits.topk(min(reading.max_detections, all_logits.shape[1]), dim=1)
    kept = all_boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    kept = kept * (best > _NEVER).unsqueeze(-1)
    return torch.cat([kept, best.sigmoid().unsqueeze(-1)], -1)


def _best(
    objectness: "Tensor", deltas: "Tensor", anchors: "Tensor", candidates: int
) -> "tuple[Tensor, Tensor, Tensor]":
    """Return logits ``(N, n)``, regression and anchors ``(N, n, 4)`` of a level's best places."""
    images = objectness.shape[0]
    # half is too coarse for pixels
    flat = objectness.float().permute(0, 2, 3, 1).reshape(images, -1)
    shifts = deltas.float().reshape(images, -1, 4, *objectness.shape[2:])
    shifts = shifts.permute(0, 3, 4, 1, 2).reshape(images, -1, 4)
    best, order = flat.topk(min(candidates, flat.shape[1]), dim=1)
    chosen = shifts.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    return best, chosen, anchors.to(best)[order]


@torch.fx.wrap
def pooled(
    features: "Sequence[Tensor]", proposals: "Tensor", size: "Sequence[int]", pooling: Pooling
) -> "Tensor":
    """Cut out the features below every proposal, at the level for its size.

    Args:
        features: Maps of the pyramid ``(N, C, rows, columns)``, the finest first.
        proposals: ``(N, P, 5)``.
        size: Height and width of the input.
        pooling: How it is done.

    Returns:
        ``(N * P, C, *pooling.cells)``.
    """
    from torchvision.ops import roi_align

    images, count = proposals.shape[0], proposals.shape[1]
    numbers = torch.arange(images, device=proposals.device, dtype=proposals.dtype)
    numbers = numbers.reshape(-1, 1, 1).expand(-1, count, 1)
    regions = torch.cat([numbers, proposals[..., :4]], -1).reshape(-1, 5)
    # strides are powers of 2, whatever rounding made of the maps' sizes
    strides = [round(math.log2(int(size[0]) / own.shape[-2])) for own in features]
    sides = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).sqrt()
    sides = sides.clamp(min=1.0)  # an empty one has no logarithm
    levels = pooling.canonical_level + (sides / pooling.canonical_side).log2() + 1e-6
    levels = levels.floor().clamp(strides[0], strides[-1]) - strides[0]
    found = features[0].new_zeros(images * count, features[0].shape[1], *pooling.cells)
    for level, (own, stride) in enumerate(zip(features, strides, strict=True)):
        here = torch.where(levels == level)[0]
        cut = roi_align(own.float(), regions[here], pooling.cells, 2.0**-stride, pooling.samples)
        found = found.index_put((here,), cut.to(found))
    return found


def _decoded(shifts: "Tensor", anchors: "Tensor", size: "Sequence[int]") -> "Tensor":
    """Return boxes ``(N, n, 4)`` cut off at the borders of the input."""
    from torchvision.models.detection._utils import BoxCoder
    from torchvision.ops import clip_boxes_to_image

    coder: Foreign = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    boxes = coder.decode_single(shifts.reshape(-1, 4), anchors.reshape(-1, 4))
    found: Tensor = clip_boxes_to_image(boxes.reshape(shifts.shape), (int(size[0]), int(size[1])))
    return found


def _pooling(pool: Foreign, maps: "Iterable[str]") -> Pooling:
    return Pooling(
        tuple(name for name in maps if name in pool.featmap_names),
        pool.output_size,
        pool.sampling_ratio,
        float(pool.canonical_scale),
        pool.canonical_level,
    )


def _strides(backbone: nn.Module) -> dict[str, float]:
    """Return how many pixels lie between the cells of each map, by its name."""
    was_training = backbone.training
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, _PROBE, _PROBE))
    backbone.train(was_training)
    return {name: float(_PROBE // one.shape[-2]) for name, one in features.items()}
