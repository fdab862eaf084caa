"""Weight files of every kind that people have lying about."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from squeeze.core.errors import InputError
from squeeze.models.weights import load_weights_, read_weights


def _half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _truncated(path: Path) -> None:
    torch.save(nn.Linear(9, 9).state_dict(), path)
    _half(path)


def _truncated_legacy(path: Path) -> None:
    torch.save(nn.Linear(9, 9).state_dict(), path, _use_new_zipfile_serialization=False)
    _half(path)


def _script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)


def _other_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}, protocol=2))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_of_data_parallel_training_is_read(tmp_path: Path, *, legacy: bool) -> None:
    state = nn.Linear(2, 3).state_dict()
    wrapped = {"epoch": 3, "model": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    found = read_weights(tmp_path / "w.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save(nn.Linear(2, 2), path), "would run code from the file"),
        (_other_pickle, "cannot be read as torch weights"),
        (_truncated, "cannot be read as torch weights: PytorchStreamReader"),
        (_truncated_legacy, "cannot be read as torch weights: EOFError"),
        (_script, "cannot be read as torch weights"),
        (lambda path: path.write_text("hello"), "is not a torch file"),
        (lambda path: path.write_bytes(b""), "is not a torch file"),
        (lambda path: torch.save({}, path), "holds no state dict"),
        (lambda path: torch.save({1: torch.ones(1)}, path), "holds no state dict"),
        (lambda path: torch.save({"model": {"a": 1}}, path), "holds no state dict"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(InputError, match=message):
        read_weights(path)


def test_a_model_that_asks_for_versions_of_its_tensors_is_given_its_own(tmp_path: Path) -> None:
    """MNASNet refuses tensors without the version that a torch file has and safetensors has not."""
    saved = models.mnasnet0_5(num_classes=3).eval()
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    loaded = models.mnasnet0_5(num_classes=3).eval()
    load_weights_(loaded, read_weights(tmp_path / "w.safetensors"), where="w.safetensors")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(images), saved(images))
