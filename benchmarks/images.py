"""What the pruning benchmarks share: images, baselines, and the head of a table."""

import platform
import shlex
import sys
from pathlib import Path

import torch
from pages import stamp

from squeeze.core import cpu
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.measure.environment import packages
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe.schema import DataBlock, DataSource, InputSpec, ModelBlock, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training
from squeeze.training.loop import train_


def opened(folder: Path | None, shape: tuple[int, int, int], samples: int) -> Data:
    """Open Fashion-MNIST's idx files, or scikit-learn's digits without a folder.

    Args:
        folder: With the four idx files.
        shape: What models are fed.
        samples: So many for training, and a quarter as many for validation.
    """
    place = {"format": "idx", "path": str(folder)} if folder else {"format": "digits"}
    count = {"samples": samples} if folder else {}
    fewer = {"samples": samples // 4} if folder else {}
    block = DataBlock(
        train=DataSource.model_validate(place | count),
        validation=DataSource.model_validate(place | fewer | {"split": "validation"}),
        on_overlap="drop_from_train",
    )
    spec = InputSpec(shape=shape, mean=(0.29,), std=(0.35,))
    opening = Opening(Path.cwd(), spec, 0, Silent())
    return open_data(block, opening, trains=True, calibrates=False)


def baseline(name: str, data: Data, shape: tuple[int, int, int], epochs: int, seed: int) -> Model:
    """Build a model for ten classes and train it."""
    torch.manual_seed(seed)
    args = {"num_classes": 10}
    if name.startswith("builtin:"):
        args["in_channels"] = shape[0]
    block = ModelBlock(build=name, args=args, input=InputSpec(shape=shape))
    model = build(block, Path.cwd())
    settings = TrainSettings(epochs=epochs, lr=0.05, batch_size=64, warmup_epochs=0.5)
    train_(model.module, settings, training(data, seed))
    return model


def training(data: Data, seed: int) -> Training:
    """Return the surroundings of a training."""
    if data.train is None:
        raise SystemExit("there is no training data")
    return Training(data.train, data.validation, classification, seed, Silent(), "benchmark")


def top1(model: Model, data: Data) -> float:
    """Return top-1 in torch, [0, 1]."""
    return classification.evaluate(model.module, data.validation, "cpu")


def head(title: str) -> list[str]:
    """Return a table's head: the command, the commit, the machine and the versions."""
    names = ("torch", "torch-pruning", "onnxruntime")
    versions = packages()
    told = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    command = shlex.join(["python", *sys.argv])
    machine = f"{cpu.host().model}, {torch.get_num_threads()} torch threads, {platform.system()}"
    return [f"# {title}", "", f"`{command}`", "", f"{stamp()}: {machine}; {told}", ""]
