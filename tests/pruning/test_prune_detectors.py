"""Detectors lose channels and keep their outputs; most are in ``test_detector_support``."""

from pathlib import Path
from typing import Any

import pytest
import torch

from squeeze.models import bundle, factory, types
from squeeze.pruning import graph
from squeeze.recipe.schema import InputSpec
from squeeze.tasks.detection import decoding

SIZE = (64, 96)
FEW = {"num_classes": 4, "rpn_pre_nms_top_n_test": 20, "rpn_post_nms_top_n_test": 20}
DETECTORS = {
    "builtin:tinydet": {"num_classes": 3, "width_mult": 0.35, "channels": 32},
    "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn": FEW,
    "torchvision:fasterrcnn_mobilenet_v3_large_fpn": FEW,
    "torchvision:fasterrcnn_resnet50_fpn": FEW,
    "torchvision:fasterrcnn_resnet50_fpn_v2": FEW,
    "torchvision:maskrcnn_resnet50_fpn": FEW,
}
QUICK = "builtin:tinydet"


@pytest.mark.parametrize(
    "name",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DETECTORS],
)
def test_outputs_keep_their_shape(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    args: dict[str, Any] = DETECTORS[name]
    module = factory.make(name, args, tmp_path)
    spec = InputSpec(shape=(3, *SIZE), fit="stretch")
    model = types.Model(module, types.Architecture(name, tmp_path, args, spec))
    found = graph.find_groups(model)
    assert len(found.prunable) > 8
    kept = {group.name: max(1, int(0.6 * group.units)) for group in found.prunable}
    pruned = graph.narrowed(model, found, kept)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (module, pruned.module))
    assert after < 0.7 * before
    images = torch.rand(2, 3, *SIZE)
    with torch.inference_mode():
        outputs = pruned.module.eval()(images)
        decoding.check_module(pruned.module, SIZE, 3)
        traced = torch.fx.symbolic_trace(pruned.module)(images)
        bundle.save(pruned, tmp_path / "bundle")
        again = bundle.load(tmp_path / "bundle").module
        reloaded = again(images)
    assert again.detector == module.detector
    assert [tuple(o.shape) for o in outputs] == [tuple(o.shape) for o in module(images)]
    for own, by_graph, by_file in zip(outputs, traced, reloaded, strict=True):
        assert torch.equal(own, by_graph)
        assert torch.equal(own, by_file)


def test_keypoints_are_no_boxes(tmp_path: Path) -> None:
    name = "torchvision:keypointrcnn_resnet50_fpn"
    with pytest.raises(factory.InputError, match="KeypointRCNN is not a known detector"):
        factory.make(name, {}, tmp_path)
