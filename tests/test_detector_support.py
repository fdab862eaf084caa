"""Every detector that squeeze says it can compress: pruned, trained, exported, in int8, decoded.

With ``SQUEEZE_WRITE_SUPPORT=1`` a run writes ``benchmarks/results/detector_support.md``: rows that
were not run stay as they were. Without it the committed table is compared with the rows here.
Weights are random, batch norms have seen drawn scenes, inputs are small.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.models import get_model_builder
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import nms

from squeeze.core.boxes import Detections
from squeeze.core.detector import DetectorSpec
from squeeze.core.parity import distances
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.measure import cost
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning.step import prune
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import Cut, DataBlock, InputSpec, ModelBlock, PruneStep, QuantizeStep
from squeeze.results import KernelCoverage
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection import decoding
from squeeze.tasks.detection.task import Detection

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

TABLE = Path(__file__).parents[1] / "benchmarks" / "results" / "detector_support.md"
WRITES = os.environ.get("SQUEEZE_WRITE_SUPPORT") == "1"
COMMAND = "SQUEEZE_WRITE_SUPPORT=1 pytest tests/test_detector_support.py"
CLASSES = 10
FEWER = 1 / 0.6
RUNTIMES: dict[str, Any] = {
    "onnxruntime": (onnx_export, onnx_backend, onnxruntime, "onnx"),
    "litert": (litert_export, litert_backend, litert, "tflite"),
}
KEYS = ("cls_logits", "bbox_regression", "bbox_ctrness")
HEAD = """# Which detectors can be compressed

Each was built with random weights, its batch norms saw drawn scenes of digits, and it lost 40 % of
its multiply-adds (criterion `l2`, no alignment; what makes the outputs stays). The pruned model took
a training step, came back bit-equal from its bundle, and its files were run: "differs" is the
largest difference of an output from torch's, as a share of the largest value of that output.
"Int8" counts the convolutions and matrix products that run in int8 kernels after `static_int8`
(7-bit weights), in the graph that the runtime executes. Decoding compares squeeze's detections with
torchvision's own post-processing, for the other detectors with a formula written apart from
squeeze's, on the pruned model's outputs, spread so that there are many: the largest difference of a
corner in pixels. Inputs are small to keep the test short.

{made}:

    {command}

| library | detector | input | MACs cut | ONNX Runtime differs | LiteRT differs | int8 in ONNX Runtime | int8 in LiteRT | decoding differs | left out |
|---|---|---|---|---|---|---|---|---|---|
{rows}
"""  # noqa: E501


@dataclass(frozen=True)
class Row:
    """One detector.

    Attributes:
        name: Its factory.
        side: Height and width of its input.
        args: The factory's arguments, besides the number of classes.
        quick: Whether it runs in the quick part of the suite.
        left_out: What is not tried and why: ``training``, ``litert``, ``int8 in RUNTIME``.
    """

    name: str
    side: int = 64
    args: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The detector's name without its library."""
        return self.name.partition(":")[2]

    @property
    def spec(self) -> InputSpec:
        """What it is fed."""
        return InputSpec(shape=(3, self.side, self.side), fit="stretch")


ROWS = (
    Row("builtin:tinydet", args={"width_mult": 0.25, "channels": 16}, quick=True),
    Row("builtin:yolov3_tiny"),
    Row("builtin:yolov3"),
    Row("torchvision:ssd300_vgg16", 300),
    Row("torchvision:ssdlite320_mobilenet_v3_large", 320),
    Row("torchvision:retinanet_resnet50_fpn"),
    Row("torchvision:retinanet_resnet50_fpn_v2"),
    Row("torchvision:fcos_resnet50_fpn"),
)


@dataclass
class Outcome:
    """What happened to a row; by runtime where there are two."""

    macs: float = 0.0
    differs: dict[str, float] = field(default_factory=dict)
    int8: dict[str, KernelCoverage] = field(default_factory=dict)
    decoding_px: float = 0.0


OUTCOMES: dict[str, Outcome] = {}


@pytest.fixture(autouse=True)
def table(made: Callable[..., str]) -> Iterator[None]:
    """Write the table as far as it is known."""
    yield
    if WRITES:
        before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
        TABLE.write_text(rendered(before, made), encoding="utf-8")


def rendered(before: str, made: Callable[..., str]) -> str:
    """Return the table; ``before`` has the rows that were not run."""
    libraries = ("torch", "torchvision", "torch-pruning", "onnxruntime", "litert-torch")
    told = made(libraries, before, complete=len(OUTCOMES) == len(ROWS))
    rows = "\n".join(line(row, before) for row in ROWS)
    return HEAD.format(made=told, command=COMMAND, rows=rows)


def line(row: Row, before: str) -> str:
    """Return a row of the table."""
    library = row.name.partition(":")[0].replace("builtin", "squeeze")
    start = f"| {library} | {row.title} | {row.side} px |"
    found = OUTCOMES.get(row.title)
    if found is None:
        old = (each for each in before.splitlines() if each.startswith(start))
        return next(old, f"{start} not run | | | | | | |")
    differs = [f"{found.differs[name]:.0e}" if name in found.differs else "" for name in RUNTIMES]
    int8 = [
        f"{found.int8[name].int8} of {found.int8[name].total}" if name in found.int8 else ""
        for name in RUNTIMES
    ]
    left_out = "; ".join(f"{what}: {why}" for what, why in row.left_out.items())
    decoding_px = f"{found.decoding_px:.0e} px" if found.decoding_px else "0 px"
    cells = [f"{found.macs:.2f} x", *differs, *int8, decoding_px, left_out]
    return start + "".join(f" {cell} |" if cell else " |" for cell in cells)


def scenes(row: Row, folder: Path) -> Data:
    """Return drawn scenes: 8 to train, 4 of them to calibrate, 4 to validate."""
    part = {"format": "digit_scenes", "args": {"scenes": 8, "side": max(row.side, 48), "most": 2}}
    block = DataBlock.model_validate(
        {"train": part, "validation": part, "calibration": {"from": "train", "samples": 4}}
    )
    opening = Opening(folder, row.spec, 0, Silent())
    return open_data(block, opening, trains=True, calibrates=True)


def detector(row: Row, data: Data, folder: Path) -> Model:
    """Return the detector after one look at all scenes."""
    torch.manual_seed(0)
    counted = CLASSES + row.name.startswith("torchvision")  # with the background
    block = ModelBlock(build=row.name, args={"num_classes": counted} | row.args, input=row.spec)
    model = build(block, folder)
    for part in model.module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
        if isinstance(part, torch.nn.Conv2d):  # heads start near zero and would say nothing
            part.weight.data /= part.weight.std() * part.weight[0].numel() ** 0.5
    assert data.train is not None
    with torch.inference_mode():
        model.module.train()(torch.from_numpy(data.train.batch(range(len(data.train)))[0]))
    model.module.eval()
    return model


def case(row: Row) -> Any:
    return pytest.param(row, id=row.title, marks=[] if row.quick else [pytest.mark.slow])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", [case(row) for row in ROWS])
def test_a_pruned_detector_trains_ships_and_decodes(row: Row, tmp_path: Path) -> None:
    data = scenes(row, tmp_path)
    model = detector(row, data, tmp_path)
    pruned = prune(model, PruneStep(macs=Cut(times_fewer=FEWER), align=1), seed=0)
    outcome = Outcome(cost.macs(model) / cost.macs(pruned))
    assert FEWER <= outcome.macs < 1.15 * FEWER
    assert pruned.module.detector == model.module.detector
    if "training" not in row.left_out:
        learns_(pruned, data)
    comes_back(pruned, data, tmp_path)
    for runtime in RUNTIMES:
        if runtime not in row.left_out:
            ships(pruned, runtime, data, tmp_path, outcome)
        if {runtime, f"int8 in {runtime}"}.isdisjoint(row.left_out):
            runs_in_int8(pruned, runtime, data, tmp_path, outcome)
    outcome.decoding_px = decodes(row, pruned, data)
    OUTCOMES[row.title] = outcome


def learns_(model: Model, data: Data) -> None:
    """Take one step of gradient descent, in place; all weights get a finite gradient."""
    assert data.train is not None
    images, labels = data.train.batch(range(2))
    module = model.module.train()
    before = {name: value.clone() for name, value in module.named_parameters()}
    task = Detection(model.input.shape[1:]).of(module)
    loss = task.loss(module(torch.from_numpy(images)), labels, label_smoothing=0.0)
    assert bool(loss.isfinite())
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=1e-3).step()
    after = dict(module.named_parameters())
    assert all(value.grad is not None and value.isfinite().all() for value in after.values())
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert len(moved) > 0.4 * len(after)  # levels of an SSD without a box learn nothing
    module.eval().zero_grad()


def outputs_of(model: Model, images: NDArray[np.float32]) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        return tuple(model.module(torch.from_numpy(images)))


def comes_back(model: Model, data: Data, folder: Path) -> None:
    """Save and load a bundle, and trace the module as accuracy recovery does."""
    images, _ = data.validation.batch(range(2))
    expected = outputs_of(model, images)
    again = bundle.load(bundle.save(model, folder / "bundle"))
    assert again.module.detector == model.module.detector
    traced = torch.fx.symbolic_trace(model.module)(torch.from_numpy(images))
    for own, by_file, by_graph in zip(expected, outputs_of(again, images), traced, strict=True):
        assert torch.equal(own, by_file)
        assert torch.equal(own, by_graph)


def run(runtime: Any, path: Path, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return a file's outputs; LiteRT's take one image at a time."""
    session = runtime.open_session(path, Execution())
    size = 1 if runtime.spec.fixed_batch else len(images)
    batches = [images[first : first + size] for first in range(0, len(images), size)]
    found = [several(session.invoke(session.prepare(batch))) for batch in batches]
    session.close()
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def ships(model: Model, runtime: str, data: Data, folder: Path, outcome: Outcome) -> None:
    """Export, run, and compare every output with torch's."""
    export, _, kernels, kind = RUNTIMES[runtime]
    export.export(model, folder / f"float.{kind}", log=folder / "log")
    images, _ = data.validation.batch(range(2))
    found = run(kernels, folder / f"float.{kind}", images)
    expected = [output.numpy() for output in outputs_of(model, images)]
    spec: DetectorSpec = model.module.detector  # type: ignore[assignment]
    outcome.differs[runtime] = max(far / most for far, most in distances(found, expected, spec))
    assert outcome.differs[runtime] < 1e-3


def runs_in_int8(model: Model, runtime: str, data: Data, folder: Path, outcome: Outcome) -> None:
    """Quantize the exported file and look at what its runtime executes."""
    _, backend, kernels, kind = RUNTIMES[runtime]
    assert data.calibration is not None
    source, place = folder / f"float.{kind}", folder / f"int8.{kind}"
    step = QuantizeStep(weight_bits=7)
    backend.quantize(Request(source, place, step, data.calibration, Silent(), folder / "log"))
    outcome.int8[runtime] = kernels.audit(place).coverage
    images, _ = data.calibration.batch(range(2))
    for found, expected in zip(run(kernels, place, images), outputs_of(model, images), strict=True):
        signal = expected.numpy() - expected.numpy().mean()
        assert np.square(found - expected.numpy()).sum() < 0.5 * np.square(signal).sum()


def decodes(row: Row, model: Model, data: Data) -> float:
    """Decode as squeeze does and by another way; return how far corners are apart."""
    size = (row.side, row.side)
    spec: DetectorSpec = model.module.detector  # type: ignore[assignment]
    images, _ = data.validation.batch(range(2))
    outputs = spread(outputs_of(model, images), spec)
    found = decoding.detections([output.numpy() for output in outputs], spec, size)
    if row.name.startswith("torchvision"):
        expected = by_torchvision(row, model, outputs)
    else:
        expected = [by_formula(spec, size, *one) for one in zip(*outputs, strict=True)]
    apart = 0.0
    for own, reference in zip(found, expected, strict=True):
        assert len(own) == len(reference) > 10
        assert (own.classes == reference.classes).all()
        assert np.abs(own.scores - reference.scores).max() < 1e-4
        apart = max(apart, float(np.abs(own.xyxy - reference.xyxy).max()))
    assert apart < 1e-4 * max(1, row.side / 64)  # float32 of pixels
    return apart


def spread(outputs: tuple[torch.Tensor, ...], spec: DetectorSpec) -> list[torch.Tensor]:
    """Return outputs that find many objects: those of random weights find none."""
    logits, regression, *quality = ((one - one.mean()) / one.std() for one in outputs)
    logits = 2 * logits - 2
    if spec.scores == "sigmoid" and spec.background is not None:
        logits[..., spec.background] = -1e4  # torchvision counts it as a class
    is_distance = spec.decoder == "anchor_free" and spec.distances == "linear"
    return [logits, 2 * regression.abs() if is_distance else regression / 2, *quality]


def by_torchvision(row: Row, model: Model, outputs: list[torch.Tensor]) -> list[Detections]:
    """Let the detector's own ``postprocess_detections`` read the outputs."""
    arguments = {"weights": None, "weights_backbone": None, "num_classes": CLASSES + 1}
    whole = get_model_builder(row.title)(**arguments)
    images, size = torch.zeros(2, 3, row.side, row.side), (row.side, row.side)
    with torch.inference_mode():
        features = list(model.module.backbone(images).values())  # type: ignore[operator]
    anchors = whole.anchor_generator(ImageList(images, [size, size]), features)
    named: dict[str, Any] = dict(zip(KEYS, outputs, strict=False))
    if not row.title.startswith("ssd"):
        cells = [one.shape[2] * one.shape[3] for one in features]
        counts = [cell * outputs[0].shape[1] // sum(cells) for cell in cells]
        named = {key: list(value.split(counts, 1)) for key, value in named.items()}
        anchors = [list(own.split(counts)) for own in anchors]
    found = whole.postprocess_detections(named, anchors, [size, size])
    return [
        Detections.of(one["boxes"].numpy(), one["scores"].numpy(), one["labels"].numpy() - 1)
        for one in found
    ]


def by_formula(spec: DetectorSpec, size: tuple[int, int], *raw: torch.Tensor) -> Detections:
    """Read one image's outputs as YOLOv3 (section 2.1) and FCOS (section 3.1, by exp) put it."""
    numbers, scores = raw[1].double().numpy(), raw[0].sigmoid().numpy()
    if spec.quality:
        scores = scores * raw[2].sigmoid().numpy()
    boxes, kept, first = [], [], 0
    for level in spec.levels:
        stride = int(level.stride)
        cells = (size[0] // stride, size[1] // stride, len(level.anchors))
        y, x, anchor = np.indices(cells).reshape(3, -1)
        width, height = np.array(level.anchors)[anchor].T
        a, b, c, d = numbers[first : first + len(x)].T
        if spec.decoder == "anchor_grid":
            x, y = ((x + 1 / (1 + np.exp(-a))) * stride, (y + 1 / (1 + np.exp(-b))) * stride)
            left, top = right, bottom = width * np.exp(c) / 2, height * np.exp(d) / 2
        else:
            x, y = (x + 0.5) * stride, (y + 0.5) * stride
            left, top, right, bottom = (np.exp(each) * stride for each in (a, b, c, d))
        boxes.append(np.stack([x - left, y - top, x + right, y + bottom], axis=1))
        places, classes = np.nonzero(scores[first : first + len(x)] > spec.score_threshold)
        found = zip(scores[first + places, classes], first + places, classes, strict=True)
        kept += sorted(found, reverse=True)[: spec.candidates]
        first += len(x)
    found_boxes = np.clip(np.concatenate(boxes), 0, [*size[::-1], *size[::-1]])
    return suppressed(found_boxes.astype(np.float32), kept, spec)


def suppressed(
    boxes: NDArray[np.float32], found: list[tuple[Any, Any, Any]], spec: DetectorSpec
) -> Detections:
    """Keep of each class those (score, place, class) that no better one covers."""
    kept: list[tuple[Any, Any, Any]] = []
    for number in range(spec.classes):
        own = [one for one in found if one[2] == number]
        corners = torch.tensor(np.array([boxes[place] for _, place, _ in own]).reshape(-1, 4))
        rest = nms(corners, torch.tensor([score for score, _, _ in own]), spec.nms_iou)
        kept += [own[position] for position in rest.tolist()]
    scores, places, classes = zip(*sorted(kept, reverse=True)[: spec.max_detections], strict=True)
    return Detections.of(boxes[list(places)], np.array(scores), np.array(classes))


@pytest.mark.skipif(WRITES, reason="the table is being written")
def test_the_committed_table_has_these_rows() -> None:
    text = TABLE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:torchvision|squeeze) \| ([^|]+?) \|", text, re.MULTILINE)
    assert rows == [row.title for row in ROWS]
