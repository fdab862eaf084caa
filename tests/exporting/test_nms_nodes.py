"""Decoding and suppression as ONNX nodes: the same objects as our own post-processing finds."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from squeeze.core.detector import DetectorSpec, Level
from squeeze.core.errors import InputError, SqueezeError
from squeeze.exporting.detections import onnx as nodes
from squeeze.tasks.detection import decoding

SIZE = (72, 104)
NAMES = ("class_logits", "boxes", "centerness")
BOXES = (Level(8.0, ((20.0, 30.0), (40.0, 20.0))), Level(16.0, ((60.0, 50.0), (80.0, 90.0))))
POINTS = (Level(8.0, ((8.0, 8.0),)), Level(16.0, ((16.0, 16.0),)))
SOFTMAX: dict[str, Any] = {"background": 0, "scores": "softmax"}
CASES: dict[str, DetectorSpec] = {
    "ssd": DetectorSpec("ssd", 3, BOXES, **SOFTMAX, step="even", nms_iou=0.45, candidates=60),
    "retinanet": DetectorSpec(
        "retinanet", 3, BOXES, background=0, step="floor", candidates=90, score_threshold=0.3
    ),
    "retinanet_relative": DetectorSpec(
        "retinanet",
        2,
        (Level(24.0, ((0.2, 0.3), (0.5, 0.4))),),
        relative=True,
        offset=0.0,
        box_weights=(10.0, 10.0, 5.0, 5.0),
    ),
    "anchor_free": DetectorSpec("anchor_free", 3, POINTS, quality=True, candidates=70),
    "anchor_free_exp": DetectorSpec("anchor_free", 3, POINTS, distances="exp", max_detections=9),
    "anchor_grid": DetectorSpec("anchor_grid", 3, BOXES, quality=True, score_threshold=0.2),
    "anchor_grid_exp": DetectorSpec("anchor_grid", 1, BOXES, distances="exp", candidates=50),
    "detr": DetectorSpec("detr", 3, background=3, scores="softmax", nms="none"),
    "rt_detr": DetectorSpec("detr", 3, nms="none", candidates=30),
    "finds_nothing": DetectorSpec("retinanet", 3, BOXES, score_threshold=0.9999),
}


def graph_of_outputs(spec: DetectorSpec, path: Path, opset: int = 18) -> None:
    """Write a file that returns what it is given."""
    shapes = [["batch", spec.places(SIZE) or 50, width] for width in (spec.columns, 4, 1)]
    named = list(zip(NAMES, shapes, strict=True))[: spec.outputs]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{name}"], [name]) for name, _ in named],
        "outputs",
        [helper.make_tensor_value_info(f"in_{name}", 1, shape) for name, shape in named],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in named],
    )
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)


def outputs_like(spec: DetectorSpec, count: int, *, rounded: bool) -> list[Any]:
    """Return raw outputs that find many objects; rounded ones have many equal scores."""
    torch.manual_seed(count)
    places = spec.places(SIZE) or 50
    logits = 2 * torch.randn(count, places, spec.columns) - 1
    regression = torch.randn(count, places, 4) / 2
    if spec.decoder == "anchor_free" and spec.distances == "linear":
        regression = 4 * regression.abs()
    if spec.decoder == "detr":
        regression = regression.sigmoid()
    if rounded:
        logits = logits.mul(4).round() / 4
    quality = torch.randn(count, places, 1)
    return [part.numpy() for part in (logits, regression, quality)[: spec.outputs]]


@pytest.mark.parametrize("name", CASES)
def test_finds_what_our_own_post_processing_finds(name: str, tmp_path: Path) -> None:
    spec = CASES[name]
    raw, path = tmp_path / "raw.onnx", tmp_path / "raw.nms.onnx"
    graph_of_outputs(spec, raw)
    nodes.attach(raw, path, spec, SIZE)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    # equal scores have one order; a softmax is rounded otherwise in either runtime
    for count, rounded in ((1, False), (3, False), (2, spec.scores == "sigmoid")):
        outputs = outputs_like(spec, count, rounded=rounded)
        given = {f"in_{key}": part for key, part in zip(NAMES, outputs, strict=False)}
        boxes, scores, classes, counts = session.run(list(nodes.OUTPUTS), given)
        expected = decoding.detections(outputs, spec, SIZE)
        assert counts.tolist() == [len(one) for one in expected]
        assert counts.min() > (0 if name == "finds_nothing" else 5) - 1
        for row, one in enumerate(expected):
            found = slice(0, len(one))
            assert np.allclose(boxes[row, found], one.xyxy, atol=1e-4)
            assert np.allclose(scores[row, found], one.scores, atol=1e-4)
            assert (classes[row, found] == one.classes).all()
            assert (classes[row, len(one) :] == -1).all()
            assert not boxes[row, len(one) :].any()
            assert not scores[row, len(one) :].any()


def test_what_onnx_cannot_suppress_is_refused(tmp_path: Path) -> None:
    spec = DetectorSpec("retinanet", 3, BOXES, nms="soft")
    with pytest.raises(InputError, match="suppression is soft and ONNX's operator is greedy"):
        nodes.check(spec, "model")
    graph_of_outputs(CASES["retinanet"], tmp_path / "old.onnx", opset=13)
    with pytest.raises(SqueezeError, match="its operator set is 13"):
        nodes.attach(tmp_path / "old.onnx", tmp_path / "new.onnx", CASES["retinanet"], SIZE)
    assert not (tmp_path / "new.onnx").exists()
