"""Checkpoints: a killed training ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.recipe.schema import TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).with_name("killed_training.py")


class Narration(Silent):
    """Keeps all lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def training(digits: Data, folder: Path, key: str = "key") -> tuple[Training, Narration]:
    assert digits.train is not None
    narration = Narration()
    checkpoints = Checkpoints(folder, key)
    return (
        Training(digits.train, digits.validation, classification, 0, narration, "it", checkpoints),
        narration,
    )


def small(width: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, width), nn.ReLU(), nn.Linear(width, 10))


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


class StoppedError(Exception):
    """Stands for a kill."""


def stop_in_epoch(number: int) -> object:
    calls = []

    def after_backward() -> None:
        calls.append(1)
        if len(calls) == (number - 1) * 19 + 5:  # 1257 samples are 19 batches of 64
            raise StoppedError

    return after_backward


def killed(kills: int, folder: Path) -> list[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(kills)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout.split()


def test_killed_five_times_a_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed, *others = killed(5, tmp_path)
    assert others
    assert set(others) == {undisturbed}


@pytest.mark.slow
def test_killed_twenty_times_a_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed, *others = killed(20, tmp_path)
    assert others
    assert set(others) == {undisturbed}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_goes_on_where_it_was(digits: Data, tmp_path: Path, optimizer: str) -> None:
    settings = TrainSettings.model_validate(
        {"epochs": 4, "lr": 0.01, "optimizer": optimizer, "channels_last": True, "ema": 0.9}
    )
    given, _ = training(digits, tmp_path / "whole")
    whole = small()
    history = train_(whole, settings, given)
    given, _ = training(digits, tmp_path / "parts")
    with pytest.raises(StoppedError):
        train_(small(), settings, given, after_backward=stop_in_epoch(3))  # type: ignore[arg-type]
    given, narration = training(digits, tmp_path / "parts")
    module = small()
    torch.manual_seed(77)
    found = train_(module, settings, given)
    assert narration.lines == ["it: resumes after epoch 2 of 4"]
    assert torch.equal(flat(module), flat(whole))
    assert [e.loss for e in found] == [e.loss for e in history]


def test_trainings_of_one_step_have_their_own_checkpoints(digits: Data, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1)
    given, _ = training(digits, tmp_path)
    train_(small(), settings, given)
    train_(small(), settings, given)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "1.safetensors",
        "2.safetensors",
        "owner.json",
    ]


@pytest.mark.parametrize("other", ["settings", "key", "model"])
def test_a_checkpoint_of_something_else_is_never_used(
    digits: Data, tmp_path: Path, other: str
) -> None:
    given, _ = training(digits, tmp_path)
    train_(small(), TrainSettings(epochs=2), given)
    given, narration = training(digits, tmp_path, "other" if other == "key" else "key")
    settings = TrainSettings(epochs=2, lr=0.02 if other == "settings" else 0.05)
    history = train_(small(16 if other == "model" else 32), settings, given)
    assert len(history) == 2
    assert narration.lines == []


def rewritten(path: Path, change: "Callable[[dict[str, str]], object]") -> None:
    """Change the header of a checkpoint and nothing else."""
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    save_file(tensors, path, header)


def flip_an_exponent(path: Path) -> None:
    """Flip the highest bit of the exponent of the last weight of the trained model."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    end = head["model/3.weight"]["data_offsets"][1]
    content[start + end - 1] ^= 0x40
    path.write_bytes(content)


def without_history(header: dict[str, str]) -> None:
    content = json.loads(header["squeeze"])
    del content["plain"]["history"]
    header["squeeze"] = json.dumps(content)


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "exponent": flip_an_exponent,
    "no content": lambda path: rewritten(path, lambda header: header.pop("squeeze")),
    "no checksum": lambda path: rewritten(path, lambda header: header.pop("sha256")),
    "no history": lambda path: rewritten(path, without_history),
    "no header": lambda path: rewritten(path, dict.clear),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_training_starts_anew(
    digits: Data, tmp_path: Path, how: str
) -> None:
    given, _ = training(digits, tmp_path)
    whole = small()
    train_(whole, TrainSettings(epochs=1), given)
    DAMAGE[how](tmp_path / "1.safetensors")
    given, narration = training(digits, tmp_path)
    again = small()
    train_(again, TrainSettings(epochs=1), given)
    (warning,) = narration.lines
    assert warning.startswith(f"{tmp_path / '1.safetensors'}: the checkpoint is damaged: ")
    assert warning.endswith("the training starts from the beginning")
    assert torch.equal(flat(again), flat(whole))


def test_a_loss_that_is_nan_leaves_the_last_good_checkpoint(digits: Data, tmp_path: Path) -> None:
    module = small()
    given, _ = training(digits, tmp_path)
    calls, good = [], []

    def objective(images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> object:
        del images
        calls.append(1)
        if len(calls) == 19 + 1:
            good.append(flat(module))
        return nn.functional.cross_entropy(outputs, labels) * (
            float("nan") if len(calls) == 19 + 3 else 1
        )

    with pytest.raises(SqueezeError, match="became nan in epoch 2, step 3") as raised:
        train_(module, TrainSettings(epochs=2), given, objective)  # type: ignore[arg-type]
    place = tmp_path / "1.safetensors"
    assert f"the last good checkpoint, after epoch 1, is {place}" in str(raised.value)
    saved = load_file(place)
    kept = [saved[f"model/{name}"].flatten() for name, _ in module.named_parameters()]
    assert torch.equal(torch.cat(kept), good[0])
