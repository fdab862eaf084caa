"""Train on digits, killed by SIGKILL at random moments; print the weights' hashes.

Usage: killed_training.py FOLDER KILLS. The first hash is that of an undisturbed training, the
others are of those that were killed and went on. Every life is a forked process.
"""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.recipe.schema import Augment, DataBlock, InputSpec, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

SETTINGS = TrainSettings(
    epochs=6,
    lr=0.1,
    batch_size=64,
    ema=0.99,
    keep="best",
    accumulate=2,
    clip_norm=5.0,
    warmup_epochs=1.5,
    deterministic=True,
    balance_classes=True,
    augment=Augment(flip=True, shift=1, mixup=0.2),
)
SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(800, 10),
    )


def train(data: Data, folder: Path, result: Path) -> None:
    module = model()
    assert data.train is not None
    given = Training(
        data.train, data.validation, classification, 0, Silent(), "", Checkpoints(folder, "work")
    )
    train_(module, SETTINGS, given)
    state = b"".join(t.numpy().tobytes() for t in module.state_dict().values())
    result.write_text(hashlib.sha256(state).hexdigest())


def life(data: Data, folder: Path, result: Path, seconds: float) -> bool:
    """Run for so long; tell whether it had to be killed."""
    child = os.fork()
    if child == 0:
        train(data, folder, result)
        os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            assert result.exists(), "the training failed"
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(root: Path, kills: int) -> None:
    torch.set_num_threads(1)
    sources = {"train": "builtin:digits", "validation": "builtin:digits"}
    opening = Opening(Path(), SPEC, 0, Silent())
    data = open_data(DataBlock.model_validate(sources), opening, trains=True, calibrates=False)
    result = root / "result"
    started = time.monotonic()
    life(data, root / "undisturbed", result, 120)
    whole = time.monotonic() - started
    print(result.read_text())  # noqa: T201
    chance = random.Random(kills)
    while kills:
        folder = root / "killed"
        result.unlink()
        while life(data, folder, result, chance.uniform(0, whole) if kills else 120):
            kills -= 1
        print(result.read_text())  # noqa: T201
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
