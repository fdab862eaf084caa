"""Two-stage detectors as one graph: torchvision's own result, and the same in ONNX Runtime."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.parity import distances
from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.measure import cost
from squeeze.models import blocks, types
from squeeze.models.detectors import two_stage
from squeeze.models.detectors.suppression import suppress
from squeeze.models.weights import load_weights_
from squeeze.pruning.step import prune
from squeeze.quantization.backends.onnxruntime import quantize as backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import Cut, DataBlock, InputSpec, ModelBlock, PruneStep, QuantizeStep
from squeeze.results import KernelCoverage
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.litert import export as litert
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection import average_precision as precisions
from squeeze.tasks.detection import decoding
from squeeze.tasks.detection.metrics import agreement
from squeeze.tasks.detection.task import Detection

onnxruntime = load_runtime("onnxruntime")

CLASSES = 3
SIZE = (100, 130)  # no multiple of any stride
QUICK = "fasterrcnn_mobilenet_v3_large_320_fpn"
SLOW = (
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "maskrcnn_resnet50_fpn",
)
NAMES = [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "two_stage_support.md"
WRITES = os.environ.get("SQUEEZE_WRITE_SUPPORT") == "1"
COMMAND = "SQUEEZE_WRITE_SUPPORT=1 pytest -m 'slow or not slow' tests/models/test_two_stage.py"
FEW = {"rpn_pre_nms_top_n_test": 120, "rpn_post_nms_top_n_test": 60}
DEVIATIONS = {
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.3,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 1.0,
}


HEAD = """# Which two-stage detectors can be compressed

Each was built with random weights and was to lose 40 % of its multiply-adds (`l2`, no alignment;
what makes the outputs stays); its batch norms and heads were then fitted to drawn scenes of digits,
so that it finds something. "Differs" is the largest difference of an output from torch's, as a
share of the largest value of that output, each of 60 proposals beside the nearest one and the
furthest percent left out. The mAP is measured against torch's own surest boxes, moved by up to 6
pixels, because random weights find no digit: what counts is that both agree. "Int8" counts the
convolutions and matrix products that run in int8 kernels after `static_int8` (7-bit weights).
Detections of the models before pruning equal torchvision's to 1e-4 pixels in the same test file.
LiteRT has no operators for suppression and for cutting out features; training is refused.

{made}:

    {command}

| library | detector | input | MACs cut | ONNX Runtime differs | mAP in torch | mAP in ONNX Runtime | int8 in ONNX Runtime |
|---|---|---|---|---|---|---|---|
{rows}
"""  # noqa: E501


@dataclass
class Outcome:
    """What happened to a detector; scores are mAP in torch and in ONNX Runtime."""

    macs: float = 0.0
    differs: float = 0.0
    scores: tuple[float, float] = (0.0, 0.0)
    int8: KernelCoverage | None = None


OUTCOMES: dict[str, Outcome] = {}


@pytest.fixture(autouse=True)
def table(made: Callable[..., str]) -> Iterator[None]:
    """Write the table; rows that were not run stay as they were."""
    yield
    if WRITES:
        before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
        libraries = ("torch", "torchvision", "torch-pruning", "onnxruntime")
        told = made(libraries, before, complete=len(OUTCOMES) > len(SLOW))
        rows = "\n".join(line(name, before.splitlines()) for name in (QUICK, *SLOW))
        TABLE.write_text(HEAD.format(made=told, command=COMMAND, rows=rows), encoding="utf-8")


def line(name: str, before: list[str]) -> str:
    """Return a row of the table."""
    start = f"| torchvision | {name} | {SIZE[1]}x{SIZE[0]} px |"
    found = OUTCOMES.get(name)
    if found is None or found.int8 is None:
        old = (each for each in before if each.startswith(start))
        return next(old, f"{start} not run | | | | |")
    one, other = (f"{score:.4f}" for score in found.scores)
    int8 = f"{found.int8.int8} of {found.int8.total}"
    return f"{start} {found.macs:.2f} x | {found.differs:.0e} | {one} | {other} | {int8} |"


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
    with pytest.raises(InputError, match="proposals have shape"):
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
    opening = Opening(folder, spec, 0, Silent())
    return open_data(block, opening, trains=False, calibrates=False).validation


def pruned(name: str, folder: Path, outcome: Outcome) -> tuple[types.Model, Split]:
    """Return the detector with fewer channels, and scenes that it finds something in."""
    spec = InputSpec(shape=(3, *SIZE), fit="stretch")
    args = {"num_classes": CLASSES + 1} | FEW
    torch.manual_seed(0)
    model = blocks.build(ModelBlock(build=f"torchvision:{name}", args=args, input=spec), folder)
    before = cost.macs(model)
    model = prune(model, PruneStep(macs=Cut(times_fewer=1 / 0.6), align=1), seed=0)
    outcome.macs = before / cost.macs(model)
    split = scenes(folder, spec)
    speak_up_(model.module, torch.from_numpy(split.batch(range(len(split)))[0]))
    return model, split


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_detector_ships(name: str, tmp_path: Path) -> None:
    outcome = Outcome()
    model, split = pruned(name, tmp_path, outcome)
    assert outcome.macs > 1.4
    source, place = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.export(model, source)
    compares(model, source, split, outcome)
    assert outcome.differs < 1e-2  # what a run allows; random heads are loud
    assert outcome.scores[1] == pytest.approx(outcome.scores[0], abs=1e-3)
    assert 0.1 < outcome.scores[0] < 0.9
    step = QuantizeStep(weight_bits=7)
    backend.quantize(Request(source, place, step, split, Silent(), tmp_path / "log"))
    outcome.int8 = onnxruntime.audit(place).coverage
    assert outcome.int8.int8 == outcome.int8.total > 60
    outputs = run(place, split.batch((0, 1))[0])
    assert all(np.isfinite(output).all() for output in outputs)
    OUTCOMES[name] = outcome


def run(path: Path, images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.open_session(path, Execution())
    found = list(several(session.invoke(session.prepare(images))))
    session.close()
    return found


def compares(model: types.Model, path: Path, split: Split, outcome: Outcome) -> None:
    """Compare what torch and ONNX Runtime find in the scenes."""
    spec: Any = model.module.detector
    found: list[Detections] = []
    expected: list[Detections] = []
    for places in ((0,), (1, 2), (3, 4, 5)):  # the batch is dynamic
        images, _ = split.batch(places)
        with torch.inference_mode():
            in_torch = [output.numpy() for output in model.module(torch.from_numpy(images))]
        in_runtime = run(path, images)
        apart = [far / largest for far, largest in distances(in_runtime, in_torch, spec)]
        outcome.differs = max(outcome.differs, *apart)
        expected += decoding.detections(in_torch, spec, SIZE)
        found += decoding.detections(in_runtime, spec, SIZE)
    assert sum(len(one) for one in expected) > 100
    assert agreement(expected, found) > 0.99
    truth = [moved(one, by) for one, by in zip(expected, np.linspace(0, 6, 6), strict=True)]
    names = [str(number) for number in range(CLASSES)]
    one, other = (precisions.score(each, truth, names).map for each in (expected, found))
    outcome.scores = one, other


def test_weights_of_masks_are_left_out() -> None:
    _, raw, _ = whole_and_raw(QUICK)
    weights = {name: tensor + 1 for name, tensor in raw.state_dict().items()}
    mask = {"roi_heads.mask_head.0.0.weight": torch.zeros(1)}
    load_weights_(raw, weights | mask, where="file")
    assert torch.equal(
        raw.state_dict()["rpn.head.cls_logits.bias"], weights["rpn.head.cls_logits.bias"]
    )
    with pytest.raises(InputError, match="1 keys the model does not have: other"):
        load_weights_(raw, weights | {"other": torch.zeros(1)}, where="file")


def test_what_it_cannot_do_is_said(tmp_path: Path) -> None:
    _, raw, images = whole_and_raw(QUICK)
    spec = InputSpec(shape=(3, *SIZE), fit="stretch")
    model = types.Model(raw, types.Architecture("./own.py:factory", tmp_path, {}, spec))
    with pytest.raises(SqueezeError, match="litert has operators for neither"):
        litert.export(model, tmp_path / "model.tflite")
    task = Detection(SIZE).of(raw)
    with pytest.raises(InputError, match="cannot be trained here"):
        task.loss(raw(images), [Boxes.none()] * 2, label_smoothing=0.0)
