"""Small real data, one trained model and its files, shared by the whole suite."""

import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from squeeze.core import cpu
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe.schema import DataBlock, InputSpec, ModelBlock, TrainSettings

SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)
BLOCK = ModelBlock(build="builtin:resnet8", args={"num_classes": 10, "in_channels": 1}, input=SPEC)


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    """The script that keeps the pages of ``benchmarks/results``."""
    place = Path(__file__).parents[1] / "benchmarks" / "pages.py"
    spec = spec_from_file_location("pages", place)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made(pages: ModuleType) -> Callable[..., str]:
    """What a page that tests write was made with: commit, date and versions."""
    told: Callable[..., str] = pages.made
    return told


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The command ``squeeze`` for a process of its own that signals end.

    They end it also where the tests run in the background and ignore them, which children inherit.
    A ``preexec_fn`` would do that too, but it forks this process, of which JAX warns.
    """
    reset = (
        "import os, signal, sys\n"
        "for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):\n"
        "    signal.signal(number, signal.SIG_DFL)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'squeeze', *sys.argv[1:]])"
    )
    return [sys.executable, "-c", reset]


@pytest.fixture(scope="module")
def portable_cpu() -> Iterator[None]:
    """Make int8 files that every processor computes alike: 7-bit weights, unsigned activations.

    Otherwise files are made for the processor that the tests meet, and those for ARM are not fused
    on x86.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cpu.OVERRIDE, "x86_avx512")
        yield


@pytest.fixture
def recipe_data() -> dict[str, Any]:
    """A complete small recipe as plain data."""
    return {
        "version": 1,
        "name": "small",
        "model": {
            "build": "builtin:resnet8",
            "args": {"num_classes": 10, "in_channels": 1},
            "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35], "crop_fraction": 1.0},
        },
        "data": {
            "train": "builtin:digits",
            "validation": "builtin:digits",
            "calibration": {"from": "train", "samples": 32},
        },
        "baseline": {"train": {"epochs": 3, "lr": 0.1}},
        "steps": [
            {"method": "prune", "pruning_ratio": 0.5, "finetune": {"epochs": 1, "lr": 0.05}},
            {"method": "distill", "teacher": "baseline", "epochs": 1, "lr": 0.05},
            {"method": "quantize"},
        ],
        "targets": [{"runtime": "onnxruntime"}],
        "gates": [{"metric": "macs", "min_reduction": 2}],
    }


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[[Any], Path]:
    """Write plain data, or text as it is, to a recipe file."""

    def write(content: Any) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(scope="session")
def digits() -> Data:
    """Digits: 1257 to train, 540 to validate, 64 to calibrate."""
    block = DataBlock.model_validate(
        {
            "train": "builtin:digits",
            "validation": "builtin:digits",
            "calibration": {"from": "train", "samples": 64},
        }
    )
    return open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=True)


@pytest.fixture(scope="session")
def trained(digits: Data) -> Model:
    """A ResNet-8 that knows the digits (about 97 %)."""
    import torch

    from squeeze.tasks.classification import task as classification
    from squeeze.training.inputs import Training
    from squeeze.training.loop import train_

    torch.manual_seed(0)  # whatever test ran before
    model = build(BLOCK, Path())
    assert digits.train is not None
    training = Training(digits.train, digits.validation, classification, 0, Silent(), "training")
    train_(model.module, TrainSettings(epochs=5, lr=0.1), training)
    return model


@pytest.fixture(scope="session")
def files(
    trained: Model, digits: Data, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The trained model as bundle, float and int8 files that every processor computes alike."""
    from squeeze.models import bundle
    from squeeze.quantization.backends.litert import quantize as litert_backend
    from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
    from squeeze.quantization.request import Request
    from squeeze.recipe.schema import QuantizeStep
    from squeeze.runtimes.litert import export as litert
    from squeeze.runtimes.onnxruntime import export as onnx

    folder = tmp_path_factory.mktemp("files")
    paths = {
        "bundle": folder / "bundle",
        "onnx": folder / "float.onnx",
        "tflite": folder / "float.tflite",
        "int8.onnx": folder / "int8.onnx",
        "int8.tflite": folder / "int8.tflite",
    }
    bundle.save(trained, paths["bundle"])
    onnx.export(trained, paths["onnx"], log=folder / "log.txt")
    litert.export(trained, paths["tflite"], log=folder / "log.txt")
    assert digits.calibration is not None
    for kind, backend in (("onnx", onnx_backend), ("tflite", litert_backend)):
        backend.quantize(
            Request(
                paths[kind],
                paths[f"int8.{kind}"],
                QuantizeStep(),
                digits.calibration,
                Silent(),
                folder / "log.txt",
                cpu=cpu.named("x86_avx512"),
            )
        )
    return paths


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """An image folder: three classes of four random 40x30 pictures."""
    from PIL import Image

    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    for name in ("ant", "bee", "cat"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root
