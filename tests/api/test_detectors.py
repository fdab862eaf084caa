"""The same verbs on a detector, with a dataset of images and boxes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import squeeze


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    from squeeze.models.reference import function

    make = function("./small_detector.py:make", Path(__file__).parents[1] / "tasks" / "detection")
    module: nn.Module = make(3)
    return module.eval()


class Boxed(torch.utils.data.Dataset[Any]):
    """Noise with one box each."""

    classes = ("ant", "bee", "cat")

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        noise = torch.Generator().manual_seed(index)
        boxes = {
            "boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]),
            "labels": torch.tensor([index % 3]),
        }
        return torch.randn(3, 64, 64, generator=noise), boxes


def test_a_detector_is_pruned_quantized_and_measured(detector: nn.Module) -> None:
    smaller = squeeze.prune(detector, data=Boxed(), pruning_ratio=0.5)
    assert smaller.macs < smaller.macs_before / 2
    int8 = squeeze.quantize(detector, calibration=Boxed(), samples=16)
    before, after = (squeeze.evaluate(one, Boxed()) for one in (detector, int8))
    assert list(after.accuracy.figures) == ["mAP", "AP50"]
    assert len(after.predictions) == 24
    assert after.against(before).agreement.value > 0.8
    timed = squeeze.benchmark([int8])
    assert timed.notes[-1] == ("without decoding, which an application has to do: static_int8.onnx")


def test_a_detector_is_exported_with_boxes(detector: nn.Module, tmp_path: Path) -> None:
    done = squeeze.export(detector, (3, 64, 64), output=tmp_path, nms=True)
    assert done.files == (tmp_path / "model.onnx", tmp_path / "model.nms.onnx")
    assert done.boxes is not None
    assert done.boxes.shared > 0.99
    assert all(path.is_file() for path in done.files)
    with pytest.raises(squeeze.InputError, match="nms: is for onnxruntime only"):
        squeeze.export(detector, (3, 64, 64), "litert", output=tmp_path / "x", nms=True)
