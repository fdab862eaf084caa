"""Decoding against torchvision's own post-processing, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import detection as zoo
from torchvision.models.detection.image_list import ImageList

from squeeze.core.detector import DetectorSpec, Level
from squeeze.core.errors import InputError, SqueezeError
from squeeze.models.detectors import torchvision as detectors
from squeeze.tasks.detection import decoding
from squeeze.tasks.detection.decoders import base

CLASSES = 3
SIZES = {
    "ssdlite320_mobilenet_v3_large": (320, 320),
    "ssd300_vgg16": (300, 300),
    # sizes that are no multiples of the largest stride: torchvision rounds it down then
    "retinanet_resnet50_fpn": (224, 288),
    "fcos_resnet50_fpn": (224, 288),
}
KEYS = ("cls_logits", "bbox_regression", "bbox_ctrness")


def outputs_like(spec: DetectorSpec, size: tuple[int, int]) -> list[torch.Tensor]:
    """Return raw outputs that find many objects: those of random weights find none."""
    torch.manual_seed(0)
    places = spec.places(size)
    assert places is not None
    logits = 2 * torch.randn(2, places, spec.columns) - 2
    if spec.scores == "sigmoid":
        logits[..., detectors.BACKGROUND] = -1e4  # no trained model finds it
    regression = torch.randn(2, places, 4) / 2
    if spec.decoder == "anchor_free":
        regression = 4 * regression.abs()
    return [logits, regression, torch.randn(2, places, 1)][: spec.outputs]


def by_torchvision(
    whole: Any, raw: detectors.RawDetector, outputs: list[torch.Tensor], size: tuple[int, int]
) -> list[dict[str, torch.Tensor]]:
    images = torch.zeros(2, 3, *size)
    features = list(raw.backbone(images).values())
    anchors = whole.anchor_generator(ImageList(images, [size, size]), features)
    named: dict[str, Any] = dict(zip(KEYS, outputs, strict=False))
    if raw.detector.decoder != "ssd":
        cells = [one.shape[2] * one.shape[3] for one in features]
        counts = [cell * outputs[0].shape[1] // sum(cells) for cell in cells]
        named = {key: list(value.split(counts, 1)) for key, value in named.items()}
        anchors = [list(own.split(counts)) for own in anchors]
    return whole.postprocess_detections(named, anchors, [size, size])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SIZES)
def test_equals_torchvision(name: str) -> None:
    size = SIZES[name]
    builder = getattr(zoo, name)
    whole = builder(weights=None, weights_backbone=None, num_classes=CLASSES + 1).eval()
    raw = detectors.one_stage(whole)
    outputs = outputs_like(raw.detector, size)
    with torch.inference_mode():
        expected = by_torchvision(whole, raw, outputs, size)
    found = decoding.detections([output.numpy() for output in outputs], raw.detector, size)
    for own, reference in zip(found, expected, strict=True):
        assert len(own) == len(reference["boxes"]) > 50
        assert np.abs(own.xyxy - reference["boxes"].numpy()).max() < 1e-4
        assert np.abs(own.scores - reference["scores"].numpy()).max() < 1e-4
        assert (own.classes == reference["labels"].numpy() - 1).all()


SPECS = {
    "anchor_free": {},
    "anchor_free_exp": {"distances": "exp"},
    "anchor_grid": {},
    "anchor_grid_exp": {"distances": "exp"},
    "retinanet": {"box_weights": (10.0, 10.0, 5.0, 5.0)},
    "ssd": {"scores": "softmax", "background": 0},
}


@pytest.mark.parametrize("name", SPECS)
def test_a_box_comes_back(name: str) -> None:
    rule: Any = name.removesuffix("_exp")
    levels = (Level(8, ((8, 8), (12, 10))), Level(16, ((16, 16),)))
    spec = DetectorSpec(rule, 3, levels, **SPECS[name])  # type: ignore[arg-type]
    size = (48, 64)
    places = base.places(spec, size, torch.zeros(1))
    middle, sides = base.centre_size(places.anchors)
    torch.manual_seed(0)
    # a grid's centre is inside its cell and, by YOLOv5's rule, no side is over four anchors long
    wanted = base.corners(
        middle + places.strides * (torch.rand_like(sides) - 0.5) * 0.9,
        sides * (1.1 + 2 * torch.rand_like(sides)),
    )
    rule_of = decoding.decoder(spec)
    regression = rule_of.regression(wanted, places, spec)
    assert torch.allclose(rule_of.boxes(regression, places, spec), wanted, atol=1e-3)


def test_yolo_by_hand() -> None:
    spec = DetectorSpec("anchor_grid", 2, (Level(16, ((10, 20),)),), quality=True, distances="exp")
    outputs = [
        np.full((1, 4, 2), -20.0, np.float32),
        np.zeros((1, 4, 4), np.float32),
        np.full((1, 4, 1), -20.0, np.float32),
    ]
    outputs[0][0, 3, 1], outputs[2][0, 3, 0] = 20.0, 0.0
    outputs[1][0, 3] = [0.0, np.log(3), np.log(2), 0.0]  # centre (0.5, 0.75) of the cell, w doubled
    (found,) = decoding.detections(outputs, spec, (32, 32))
    assert found.classes.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.5])
    assert found.xyxy[0].tolist() == pytest.approx([24 - 10, 28 - 10, 32, 32], abs=1e-4)  # cut off


def test_queries_by_hand() -> None:
    boxes = np.array([[[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.1, 0.1]]], np.float32)
    logits = np.array([[[0.0, 3.0, 0.0], [0.0, 0.0, 9.0]]], np.float32)
    detr = DetectorSpec("detr", 2, background=2, scores="softmax", nms="none")
    (found,) = decoding.detections([logits, boxes], detr, (40, 80))
    assert found.xyxy.tolist() == [[20, 10, 60, 30]]
    assert found.classes.tolist() == [1]
    assert found.scores[0] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    rt = DetectorSpec("detr", 3, nms="none", max_detections=2)
    (found,) = decoding.detections([logits, boxes], rt, (40, 80))
    assert found.classes.tolist() == [2, 1]
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-9)), 1 / (1 + np.exp(-3))])


TINY = DetectorSpec("anchor_free", 2, (Level(16, ((16, 16),)),), size=(32, 32))


@pytest.mark.parametrize(
    ("shapes", "size", "message"),
    [
        ([(1, 4, 2), (1, 4, 4)], (32, 48), "takes inputs of 32x32 pixels only, not 32x48"),
        ([(1, 4, 2)], (32, 32), "returns 1 tensors, its spec says 2"),
        ([(1, 4, 3), (1, 4, 4)], (32, 32), "class logits have shape (1, 4, 3); expected (N, 4, 2)"),
        ([(1, 4, 2), (1, 4, 5)], (32, 32), "box regression have shape (1, 4, 5)"),
        ([(1, 9, 2), (1, 9, 4)], (32, 32), "class logits have shape (1, 9, 2)"),
    ],
)
def test_other_outputs_are_refused(
    shapes: list[tuple[int, ...]], size: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError) as error:
        decoding.check_shapes(shapes, TINY, size)
    assert message in str(error.value)


def test_nan_is_refused() -> None:
    with pytest.raises(SqueezeError, match="box regression hold NaN"):
        decoding.detections(
            [np.zeros((1, 4, 2), np.float32), np.full((1, 4, 4), np.nan, np.float32)],
            TINY,
            (32, 32),
        )


class Plain(torch.nn.Module):
    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs
        self.detector: object = TINY

    def forward(self, images: torch.Tensor) -> Any:
        del images
        return self.outputs


def test_modules_are_checked() -> None:
    good = (torch.zeros(2, 4, 2), torch.zeros(2, 4, 4))
    assert decoding.check_module(Plain(good), (32, 32), 3) is TINY
    with pytest.raises(InputError, match="returns one Tensor, expected a tuple"):
        decoding.check_module(Plain(good[0]), (32, 32), 3)
    with pytest.raises(InputError, match="returns a tuple of Tensor, str"):
        decoding.check_module(Plain((good[0], "boxes")), (32, 32), 3)
    with pytest.raises(InputError, match="'detector' is missing, expected a DetectorSpec"):
        decoding.check_module(torch.nn.Identity(), (32, 32), 3)
