"""YOLOv3's graphs and Darknet's files: sizes that are known, order, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from squeeze.core.errors import InputError
from squeeze.models import darknet
from squeeze.models.detectors import yolo
from squeeze.tasks.detection import decoding

HEADER = np.array([0, 2, 0], "<i4").tobytes() + np.array([32013312], "<i8").tobytes()


@pytest.mark.parametrize(
    ("build", "size_bytes"),
    # of the files that Darknet's authors publish, trained on COCO's 80 classes
    [(yolo.yolov3_tiny, 35_434_956), (yolo.yolov3, 248_007_048)],
)
def test_published_files_have_this_size(build: object, size_bytes: int) -> None:
    with torch.device("meta"):
        module = build()  # type: ignore[operator]
    assert len(HEADER) + 4 * sum(slot.numel() for slot in darknet._slots(module)) == size_bytes


@pytest.mark.parametrize(("build", "places"), [(yolo.yolov3_tiny, 3 * 15), (yolo.yolov3, 3 * 63)])
def test_outputs_are_what_the_spec_says(build: object, places: int) -> None:
    with torch.device("meta"):
        module = build(num_classes=3).eval()  # type: ignore[operator]
        shapes = [tuple(output.shape) for output in module(torch.zeros(2, 3, 32, 96))]
    decoding.check_shapes(shapes, module.detector, (32, 96))
    assert shapes == [(2, places, 3), (2, places, 4), (2, places, 1)]


def written(path: Path, module: torch.nn.Module) -> Path:
    """Write a Darknet file from the layers' names, with a shuffle that none of ours shares."""
    tensors, parts = module.state_dict(), [HEADER]
    kernels = [name for name, tensor in tensors.items() if tensor.ndim == 4]
    for kernel in kernels:
        stem = kernel.removesuffix("0.weight")
        norm = [f"{stem}1.{part}" for part in ("bias", "weight", "running_mean", "running_var")]
        is_normed = norm[-1] in tensors and tensors[norm[0]].shape[0] == tensors[kernel].shape[0]
        names = norm if is_normed else [kernel.replace("weight", "bias")]
        parts += [tensors[name].numpy().astype("<f4").tobytes() for name in (*names, kernel)]
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    made = yolo.yolov3_tiny(num_classes=2).eval()
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias)
            layer.running_mean.normal_()  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    return made


def test_a_file_comes_back(tmp_path: Path, module: torch.nn.Module) -> None:
    path = written(tmp_path / "net.weights", module)
    other = yolo.yolov3_tiny(num_classes=2).eval()
    darknet.load_darknet_(other, path)
    images = torch.rand(1, 3, 64, 64)
    for own, expected in zip(other(images), module(images), strict=True):
        assert torch.equal(own, expected)


def test_old_headers_are_shorter(tmp_path: Path, module: torch.nn.Module) -> None:
    path = written(tmp_path / "net.weights", module)
    old = np.array([0, 1, 0, 5], "<i4").tobytes()
    path.write_bytes(old + path.read_bytes()[len(HEADER) :])
    other = yolo.yolov3_tiny(num_classes=2)
    darknet.load_darknet_(other, path)
    assert torch.equal(other.lateral[0].weight, module.lateral[0].weight)  # type: ignore[union-attr, index]


def test_files_of_other_networks_are_refused(tmp_path: Path, module: torch.nn.Module) -> None:
    path = written(tmp_path / "net.weights", module)
    with pytest.raises(InputError, match=r"numbers and the model has .*\n.*num_classes"):
        darknet.load_darknet_(yolo.yolov3_tiny(num_classes=3), path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match="cut off"):
        darknet.load_darknet_(module, path)
    path.write_bytes(b"abc")
    with pytest.raises(InputError, match="too short"):
        darknet.load_darknet_(module, path)


def test_the_odd_pool_looks_right_and_down(module: torch.nn.Module) -> None:
    """Darknet pads the pool of stride 1 behind only, with less than every number."""
    maps = -torch.rand(1, 1, 3, 3)
    own = module.neighbours(maps)[:, :, 1:, 1:]  # type: ignore[operator]
    for row in range(3):
        for column in range(3):
            assert own[0, 0, row, column] == maps[0, 0, row : row + 2, column : column + 2].max()
