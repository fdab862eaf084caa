"""Losses against torchvision's own, what ignored boxes do, and that detectors learn."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import detection as zoo
from torchvision.models.detection.image_list import ImageList

from squeeze.core.boxes import Boxes
from squeeze.core.detector import DetectorSpec, Level
from squeeze.models.detectors import torchvision as detectors
from squeeze.models.detectors.tinydet import tinydet
from squeeze.tasks.detection import decoding
from squeeze.tasks.detection.decoders import base as decoders
from squeeze.tasks.detection.loss import base

SIZE = (320, 320)
KEYS = ("cls_logits", "bbox_regression", "bbox_ctrness")
TRUTH = (
    Boxes.of([[20, 30, 90, 120], [150, 40, 250, 160], [10, 10, 36, 42]], [0, 1, 2]),
    Boxes.of([[100, 100, 160, 170], [105, 95, 170, 168]], [2, 2]),
    Boxes.none(),
)


def loss_of(
    outputs: Any, truth: tuple[Boxes, ...], spec: DetectorSpec, size: tuple[int, int]
) -> torch.Tensor:
    places = decoders.places(spec, size, outputs[0])
    targets = base.targets_of(truth, spec, outputs[0])
    of_decoder = import_module(f"squeeze.tasks.detection.loss.{spec.decoder}")
    return of_decoder.loss(outputs, targets, places, spec)  # type: ignore[no-any-return]


def random_outputs(spec: DetectorSpec, size: tuple[int, int]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    places = spec.places(size) or 12
    outputs = [
        torch.randn(len(TRUTH), places, spec.columns) - 2,
        torch.rand(len(TRUTH), places, 4) * (2 if spec.levels else 0.5),
        torch.randn(len(TRUTH), places, 1),
    ]
    return [output.requires_grad_() for output in outputs[: spec.outputs]]


@pytest.mark.parametrize(
    "name", ["ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn", "fcos_resnet50_fpn"]
)
def test_equals_torchvision(name: str) -> None:
    whole = getattr(zoo, name)(weights=None, weights_backbone=None, num_classes=4).eval()
    raw = detectors.one_stage(whole)
    outputs = [output.detach() for output in random_outputs(raw.detector, SIZE)]
    images = torch.zeros(len(TRUTH), 3, *SIZE)
    with torch.no_grad():
        features = list(raw.backbone(images).values())
    anchors = whole.anchor_generator(ImageList(images, [SIZE] * len(TRUTH)), features)
    targets = [
        {"boxes": torch.from_numpy(one.xyxy), "labels": torch.from_numpy(one.classes) + 1}
        for one in TRUTH
    ]
    named = dict(zip(KEYS, outputs, strict=False))
    rest: list[Any] = []
    if raw.detector.decoder == "ssd":
        boxes = [target["boxes"] for target in targets]
        rest = [[_ssd_matches(whole, one, anchors[0]) for one in boxes]]
    if raw.detector.decoder == "anchor_free":
        rest = [[one.shape[2] * one.shape[3] for one in features]]
    expected = sum(whole.compute_loss(targets, named, anchors, *rest).values())
    found = loss_of(outputs, TRUTH, raw.detector, SIZE)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def _ssd_matches(whole: Any, boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    from torchvision.ops import box_iou

    if not len(boxes):
        return torch.full((len(anchors),), -1)
    return whole.proposal_matcher(box_iou(boxes, anchors))  # type: ignore[no-any-return]


POINTS = (Level(16, ((16, 16),)), Level(32, ((32, 32),)))
SPECS = {
    "by_size": DetectorSpec("anchor_free", 3, POINTS, quality=True),
    "task_aligned": DetectorSpec(
        "anchor_free", 3, POINTS, distances="exp", assignment="task_aligned"
    ),
    "grid": DetectorSpec("anchor_grid", 3, POINTS, quality=True, distances="exp"),
    "grid_without_objectness": DetectorSpec("anchor_grid", 3, POINTS),
    "retinanet": DetectorSpec("retinanet", 3, POINTS),
    "ssd": DetectorSpec("ssd", 3, POINTS, background=0, scores="softmax"),
    "detr": DetectorSpec("detr", 3, background=3, scores="softmax", nms="none"),
    "rt_detr": DetectorSpec("detr", 3, nms="none"),
}


@pytest.mark.parametrize("name", SPECS)
def test_gradients_flow_to_every_output(name: str) -> None:
    outputs = random_outputs(SPECS[name], SIZE)
    loss_of(outputs, TRUTH, SPECS[name], SIZE).backward()  # type: ignore[no-untyped-call]
    for output in outputs:
        assert output.grad is not None
        assert torch.isfinite(output.grad).all()
        assert output.grad.abs().max() > 0


@pytest.mark.parametrize("name", SPECS)
def test_images_without_objects_are_no_trouble(name: str) -> None:
    outputs = random_outputs(SPECS[name], SIZE)
    assert torch.isfinite(loss_of(outputs, (Boxes.none(),) * 3, SPECS[name], SIZE))


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"detr", "rt_detr"}))
def test_ignored_boxes_teach_nothing(name: str) -> None:
    spec = SPECS[name]
    outputs = random_outputs(spec, SIZE)
    everywhere = Boxes.of([[-400, -400, 800, 800]], [0], ignored=[True])
    assert loss_of(outputs, (everywhere,) * 3, spec, SIZE).item() == 0
    without = loss_of(outputs, TRUTH, spec, SIZE)
    corner = Boxes.of([[-99, -99, -98, -98]], [1], ignored=[True])
    beside = tuple(
        Boxes(*(np.concatenate(pair) for pair in zip(_parts(one), _parts(corner), strict=True)))
        for one in TRUTH
    )
    assert loss_of(outputs, beside, spec, SIZE).item() == without.item()


def _parts(boxes: Boxes) -> tuple[Any, ...]:
    return boxes.xyxy, boxes.classes, boxes.ignored, boxes.areas


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"detr", "rt_detr"}))
def test_the_right_outputs_cost_less(name: str) -> None:
    """Outputs moved down their own gradients come to decode to the true boxes."""
    spec = replace(SPECS[name], score_threshold=0.3)
    outputs = random_outputs(spec, SIZE)
    optimizer = torch.optim.Adam(outputs, lr=0.1)
    for _ in range(150):
        loss = loss_of(outputs, TRUTH, spec, SIZE)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    raw = [output.detach().numpy() for output in outputs]
    for found, truth in zip(decoding.detections(raw, spec, SIZE), TRUTH, strict=True):
        for box, number in zip(truth.xyxy, truth.classes, strict=True):
            own = found.xyxy[found.classes == number]
            assert len(own), f"no box of class {number}"
            # two boxes of one class may lie closer than suppression allows
            assert np.abs(own - box).max(axis=1).min() < 12


def test_a_detector_learns_drawn_squares() -> None:
    """A few pictures by heart: the loss, the decoder and the model speak of the same boxes."""
    torch.manual_seed(0)
    module = tinydet(2, width_mult=0.35, channels=32)
    images, truth = torch.rand(4, 3, 64, 96) / 4, []
    for number in range(4):
        boxes = [[8 + 4 * number, 8, 32 + 4 * number, 32], [52, 20 + 2 * number, 92, 60]]
        for colour, (left, top, right, bottom) in enumerate(boxes):
            images[number, colour, top:bottom, left:right] = 1
        truth.append(Boxes.of(boxes, [0, 1]))
    optimizer = torch.optim.AdamW(module.parameters(), lr=4e-3)
    module.train()
    for _ in range(60):
        loss = loss_of(module(images), tuple(truth), module.detector, (64, 96))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.inference_mode():
        raw = [output.numpy() for output in module(images)]  # batch statistics: four images
    for found, boxes in zip(
        decoding.detections(raw, module.detector, (64, 96)), truth, strict=True
    ):
        for box, number in zip(boxes.xyxy, boxes.classes, strict=True):
            best = found.xyxy[found.classes == number][0]
            assert np.abs(best - box).max() < 6
