"""Train on digits in one process and in two (gloo), and leave as JSON what became of it.

Usage: two_processes.py PATH. The second process is forked; they write PATH.0 and PATH.1.
"""

import json
import os
import socket
import sys
from pathlib import Path

import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.recipe.schema import Augment, DataBlock, InputSpec, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training import distributed
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)


def data() -> Data:
    sources = DataBlock.model_validate({"train": "builtin:digits", "validation": "builtin:digits"})
    return open_data(sources, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=False)


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 10))


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10)
    )


def train(case: str, digits: Data, folder: Path) -> dict[str, object]:
    """Train with what the case asks for; each process starts from other weights."""
    torch.manual_seed(distributed.rank())
    module, extra = (normed() if case == "batchnorm" else plain()), nn.Linear(10, 10)
    assert digits.train is not None
    training = Training(
        digits.train,
        digits.validation,
        classification,
        0,
        Silent(),
        "it",
        Checkpoints(folder / str(distributed.rank()), "key")
        if case in {"stopped", "resumed"}
        else None,
    )
    settings = TrainSettings(
        epochs=3,
        lr=0.1,
        batch_size=63 if case == "odd" else 64,
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
        augment=Augment(flip=True, shift=1),
    )
    calls = []

    def objective(
        images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        del images
        calls.append(1)
        if case == "stopped" and len(calls) == 25:
            raise SqueezeError("stands for a kill in the second of three epochs")
        broken = case == "nan" and distributed.rank() == 1 and len(calls) == 5
        loss = nn.functional.cross_entropy(extra(outputs), labels)
        return loss * float("nan") if broken else loss

    try:
        history = train_(module, settings, training, objective, extra=extra)
    except SqueezeError as error:
        return {"error": str(error)}
    tensors = [*module.state_dict().values(), *extra.state_dict().values()]
    return {
        "weights": torch.cat([t.flatten().double() for t in tensors]).tolist(),
        "losses": [epoch.loss for epoch in history],
        "top1": [epoch.score for epoch in history],
    }


def main(path: Path) -> None:
    torch.set_num_threads(1)
    digits = data()
    alone = {case: train(case, digits, path.parent) for case in ("plain", "batchnorm")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "RANK": "0"}
    child = os.fork()
    if child == 0:
        os.environ["RANK"] = "1"
    with distributed.joined() as number:
        cases = ("plain", "batchnorm", "odd", "nan", "stopped", "resumed")
        together = {case: train(case, digits, path.parent) for case in cases}
    path.with_suffix(f".{number}").write_text(json.dumps({"alone": alone, "together": together}))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
