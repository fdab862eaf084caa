"""Two-stage detectors as one graph: torchvision's own result, and the same in ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import detection as zoo
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import nms

from squeeze.core.boxes import Boxes, Detections
from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import SqueezeError
from squeeze.core.parity import distances
from squeeze.core.types import Silent
from squeeze.export import litert, onnx
from squeeze.measure import detection as precisions
from squeeze.measure.detections import agreement
from squeeze.recipe.schema import DataBlock, InputSpec
from squeeze.runtimes import onnxruntime
from squeeze.runtimes.base import Execution, several
from squeeze.sources import models
from squeeze.sources.data import Opening, Split, open_data
from squeeze.sources.detectors import two_stage
from squeeze.sources.detectors.suppression import suppress
from squeeze.sources.weights import load_weights_
from squeeze.tasks import decoding
from squeeze.tasks.detection import Detection

CLASSES = 3
SIZE = (100, 130)  # no multiple of any stride
QUICK = "fasterrcnn_mobilenet_v3_large_320_fpn"
NAMES = [
    QUICK,
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "fasterrcnn_mobilenet_v3_large_fpn",
            "fasterrcnn_resnet50_fpn",
            "fasterrcnn_resnet50_fpn_v2",
            "maskrcnn_resnet50_fpn",
        )
    ),
]
FEW = {"rpn_pre_nms_top_n_test": 120, "rpn_post_nms_top_n_test": 60}
DEVIATIONS = {
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.3,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 1.0,
}


def speak_up_(module: torch.nn.Module, images: torch.Tensor) -> None:
    """Let the outputs of random heads differ from place to place, as those of trained ones do."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # takes over what it sees, so that features stay apart
    with torch.inference_mode():
        module.train()(images)
    for path, deviation in DEVIATIONS.items():
        layer: Any = module.get_submodule(path)
        seen: list[torch.Tensor] = []
        hook = layer.register_forward_hook(
            lambda _, __, found, seen=seen: seen.append(found.transpose(0, 1).flatten(1))
        )
        with torch.inference_mode():
            module.eval()(images)
        hook.remove()
        found = torch.cat(seen, 1)
        scale = deviation / found.std(1).mean()
        with torch.no_grad():
            layer.weight.mul_(scale)
            layer.bias.copy_((layer.bias - found.mean(1)) * scale)


def whole_and_raw(name: str) -> tuple[Any, two_stage.TwoStageDetector, torch.Tensor]:
    torch.manual_seed(0)
    images = torch.rand(2, 3, *SIZE)
    builder = getattr(zoo, name)
    whole = builder(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **FEW).eval()
    raw = two_stage.two_stage(whole)
    speak_up_(raw, images)
    return whole, raw, images


@pytest.mark.parametrize("name", NAMES)
def test_equals_torchvision(name: str) -> None:
    whole, raw, images = whole_and_raw(name)
    sizes = [SIZE, SIZE]
    with torch.inference_mode():
        features = whole.backbone(images)
        proposals, _ = whole.rpn(ImageList(images, sizes), features)
        whole.roi_heads.mask_roi_pool = None  # Mask R-CNN's boxes come before its masks
        expected, _ = whole.roi_heads(features, proposals, sizes)
        outputs = raw(images)
    decoding.check_shapes([tuple(output.shape) for output in outputs], raw.detector, SIZE)
    found = decoding.detections([output.numpy() for output in outputs], raw.detector, SIZE)
    for own, reference, ours, theirs in zip(found, expected, outputs[2], proposals, strict=True):
        assert torch.allclose(ours[: len(theirs), :4], theirs, atol=1e-4)
        assert not ours[len(theirs) :].any()
        assert len(own) == len(reference["boxes"]) > 20
        assert np.abs(own.xyxy - reference["boxes"].numpy()).max() < 1e-4
        assert np.abs(own.scores - reference["scores"].numpy()).max() < 1e-4
        assert (own.classes == reference["labels"].numpy() - 1).all()


def test_suppression_takes_every_image_by_itself() -> None:
    torch.manual_seed(0)
    corners = torch.rand(3, 40, 2)
    boxes = torch.cat([corners, corners + torch.rand(3, 40, 2)], -1)
    scores = torch.rand(3, 40)
    stay = suppress(boxes, scores, 0.3)
    for own, image, score in zip(stay, boxes, scores, strict=True):
        assert own.nonzero().flatten().tolist() == sorted(nms(image, score, 0.3).tolist())


def by_hand(**changed: Any) -> tuple[list[np.ndarray[Any, Any]], DetectorSpec]:
    spec = DetectorSpec(
        "two_stage",
        2,
        background=0,
        scores="softmax",
        box_weights=(10.0, 10.0, 5.0, 5.0),
        **changed,
    )
    logits = np.array([[[0.0, 3.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]], np.float32)
    regression = np.zeros((1, 3, 12), np.float32)
    regression[0, 0, 4:8] = [1.0, 0.0, 5 * np.log(2), 0.0]  # of class 1: shifted by w/10, 2 w wide
    proposals = np.array([[[10, 10, 20, 30, 0.9], [0, 0, 9, 9, 0.5], [0] * 5]], np.float32)
    return [logits, regression, proposals], spec


def test_proposals_by_hand() -> None:
    outputs, spec = by_hand(score_threshold=0.5)
    (found,) = decoding.detections(outputs, spec, (40, 80))
    # the second proposal is background and the third one is none, however sure its class is
    assert found.classes.tolist() == [0]
    assert found.xyxy[0].tolist() == pytest.approx([6, 10, 26, 30], abs=1e-4)
    assert found.scores[0] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    assert DetectorSpec.of_json(spec.as_json()) == spec
    with pytest.raises(models.InputError, match="proposals have shape"):
        decoding.check_shapes([(1, 3, 3), (1, 3, 12), (1, 3, 4)], spec, (40, 80))
    with pytest.raises(ValueError, match="two_stage has proposals instead of levels"):
        by_hand(quality=True)


def moved(found: Detections, by: float) -> Boxes:
    """Return the surest boxes as if a person had drawn them, a little elsewhere."""
    steps = np.array([by, -by, by, -by], np.float32)
    return Boxes.of(found.xyxy[:8] + steps, found.classes[:8])


def scenes(folder: Path, spec: InputSpec) -> Split:
    part = {"format": "digit_scenes", "args": {"scenes": 6, "side": 96, "most": 3}}
    block = DataBlock.model_validate({"validation": part})
    return open_data(
        block, Opening(folder, spec, 0, Silent()), trains=False, calibrates=False
    ).validation


@pytest.mark.slow
def test_onnx_runtime_finds_the_same(tmp_path: Path) -> None:
    _, raw, _ = whole_and_raw(QUICK)
    spec = InputSpec(shape=(3, *SIZE), fit="stretch")
    model = models.Model(raw, models.Architecture(f"torchvision:{QUICK}", tmp_path, {}, spec))
    split = scenes(tmp_path, spec)
    speak_up_(raw, torch.from_numpy(split.batch(range(6))[0]))
    onnx.export(model, tmp_path / "model.onnx")
    session = onnxruntime.open_session(tmp_path / "model.onnx", Execution())
    found: list[Detections] = []
    expected: list[Detections] = []
    for places in ((0,), (1, 2), (3, 4, 5)):  # the batch is dynamic
        images, _ = split.batch(places)
        with torch.inference_mode():
            in_torch = [output.numpy() for output in raw(torch.from_numpy(images))]
        in_runtime = several(session.invoke(session.prepare(images)))
        for apart, largest in distances(in_runtime, in_torch, raw.detector):
            assert apart < 2e-3 * largest
        expected += decoding.detections(in_torch, raw.detector, SIZE)
        found += decoding.detections(in_runtime, raw.detector, SIZE)
    truth = [moved(one, by) for one, by in zip(expected, np.linspace(0, 6, 6), strict=True)]
    names = [str(number) for number in range(CLASSES)]
    scores = [precisions.score(each, truth, names).map for each in (expected, found)]
    assert 0.1 < scores[0] < 0.9
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    assert sum(len(one) for one in expected) > 100
    assert agreement(expected, found) > 0.99


def test_weights_of_masks_are_left_out() -> None:
    _, raw, _ = whole_and_raw(QUICK)
    weights = {name: tensor + 1 for name, tensor in raw.state_dict().items()}
    mask = {"roi_heads.mask_head.0.0.weight": torch.zeros(1)}
    load_weights_(raw, weights | mask, where="file")
    assert torch.equal(
        raw.state_dict()["rpn.head.cls_logits.bias"], weights["rpn.head.cls_logits.bias"]
    )
    with pytest.raises(models.InputError, match="1 keys the model does not have: other"):
        load_weights_(raw, weights | {"other": torch.zeros(1)}, where="file")


def test_what_it_cannot_do_is_said(tmp_path: Path) -> None:
    _, raw, images = whole_and_raw(QUICK)
    spec = InputSpec(shape=(3, *SIZE), fit="stretch")
    model = models.Model(raw, models.Architecture("./own.py:factory", tmp_path, {}, spec))
    with pytest.raises(SqueezeError, match="LiteRT has operators for neither"):
        litert.export(model, tmp_path / "model.tflite")
    task = Detection(SIZE).of(raw)
    with pytest.raises(models.InputError, match="does not learn here"):
        task.loss(raw(images), [Boxes.none()] * 2, label_smoothing=0.0)
