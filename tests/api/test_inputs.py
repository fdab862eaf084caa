"""Wrong use of the API is a clear error, and what is handed in stays as it was."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import squeeze
from squeeze import InputError
from squeeze.api.data import given_data
from squeeze.api.inputs import model_of, spec_of
from squeeze.api.progress import StatusLine, chosen
from squeeze.core.types import Silent


def _error(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_no_data(known: Any) -> None:
    assert _error(squeeze.evaluate, known.model, None) == (
        "validation: is needed and was not given"
    )
    assert (
        _error(squeeze.prune, known.model, known.example, pruning_ratio=0.5, importance="taylor")
        == "prune: importance: 'taylor' needs images: give data"
    )


def test_a_module_in_training_mode(mine: nn.Module, known: Any) -> None:
    mine.train()
    assert _error(squeeze.prune, mine, known.example, pruning_ratio=0.5) == (
        "model: is in training mode\n"
        "  call .eval() on it first: dropout and batch norms act otherwise while training"
    )
    assert mine.training
    mine.eval()
    next(iter(mine.children())).train()
    assert "is in training mode: " in _error(squeeze.export, mine, known.example)


def test_a_loader_that_yields_dicts(known: Any) -> None:
    def dicts() -> Iterator[dict[str, Any]]:
        for images, labels in known.validation:
            yield {"image": images, "label": labels}

    assert _error(squeeze.evaluate, known.model, dicts()) == (
        "validation: the first batch is a dict with the keys image, label, expected a pair "
        "(images, labels)\n"
        "  yield pairs: ((batch['image'], batch['label']) for batch in loader)"
    )
    items = [{"image": image, "label": 0} for image in known.images]
    assert "the first item is a dict" in _error(squeeze.evaluate, known.model, items)


def test_a_device_mismatch(known: Any, mine: nn.Module) -> None:
    example = known.example.to("meta")
    assert _error(squeeze.export, known.model, example) == (
        "example: is on meta, the model on cpu\n  move one of them: example.to(device)"
    )
    next(iter(mine.children())).to("meta")
    assert "has tensors on several devices: cpu, meta" in _error(
        squeeze.export, mine, known.example
    )


def test_folders_are_str_or_path_and_nothing_else(known: Any, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    assert "is a file, expected a folder" in _error(
        squeeze.export, known.model, known.example, output=str(taken)
    )
    assert _error(squeeze.export, known.model, known.example, output=3) == (
        "output: found a int, expected the path of a folder"
    )
    assert "no such folder" in _error(model_of, "no/such/bundle")
    assert "no such file" in _error(squeeze.evaluate, "model.onnx", known.validation)


@pytest.mark.parametrize(
    ("example", "what"),
    [
        (None, "model: does not say what it is fed"),
        (torch.zeros(1, 12, 12), "is torch.float32 (1, 12, 12), expected floats (N, C, H, W)"),
        (torch.zeros(1, 1, 12, 12, dtype=torch.uint8), "is torch.uint8 (1, 1, 12, 12)"),
        (torch.zeros(1, 3, 12, 12), "does not run on images of (2, 3, 12, 12)"),
        (torch.zeros(1, 4, 12, 12), "found 4 channels in shape"),
        ("1,12,12", "found a str, expected a tensor (N, C, H, W)"),
    ],
)
def test_examples_that_tell_no_input(known: Any, example: Any, what: str) -> None:
    assert what in _error(squeeze.prune, known.model, example, pruning_ratio=0.5)


def test_a_module_of_halves(known: Any, mine: nn.Module) -> None:
    assert _error(squeeze.export, mine.half(), known.example) == (
        "model: has parameters of float16, expected float32\n"
        "  call .float() on it; quantize(scheme='fp16') makes a half-precision file"
    )


def test_what_is_no_model(known: Any) -> None:
    assert _error(squeeze.export, 3, known.example) == (
        "model: found a int, expected a torch.nn.Module, a result of squeeze, or the folder of a "
        "bundle"
    )
    assert "does not run on images" in _error(squeeze.export, nn.Linear(3, 3).eval(), (1, 12, 12))


def test_unknown_keys_and_values_of_settings(known: Any) -> None:
    def pruned(**settings: Any) -> str:
        return _error(squeeze.prune, known.model, known.example, settings=settings)

    assert "unknown key 'aling'" in pruned(pruning_ratio=0.5, aling=8)
    assert "did you mean 'align'?" in pruned(pruning_ratio=0.5, aling=8)
    assert "pruning_ratio: found 1.5, allowed: less than 1" in pruned(pruning_ratio=1.5)
    assert "needs exactly one of: pruning_ratio" in pruned()
    assert _error(squeeze.prune, known.model, known.example, settings=8) == (
        "prune: settings: found a int, expected a mapping"
    )
    assert "unknown importance 'l3'" in pruned(pruning_ratio=0.5, importance="l3")
    assert (
        _error(
            squeeze.prune,
            known.model,
            known.example,
            pruning_ratio=0.5,
            settings={"pruning_ratio": 0.5},
        )
        == "prune: settings: pruning_ratio is given twice"
    )


def test_the_input_is_known_in_all_ways(known: Any) -> None:
    assert spec_of((1, 12, 12)) == spec_of([1, 12, 12]) == spec_of(known.example)
    full = squeeze.InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,))
    found = model_of(known.model, full)
    assert found.input is full
    assert model_of(found).input is full
    assert model_of(known.model, shape=(1, 12, 12)).input.shape == (1, 12, 12)


def test_the_given_module_is_copied(mine: nn.Module, known: Any) -> None:
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    result = squeeze.prune(mine, known.example, pruning_ratio=0.5)
    assert result.model is not mine
    assert all(torch.equal(mine.state_dict()[name], tensor) for name, tensor in before.items())


def test_data_in_all_forms(known: Any) -> None:
    pairs = list(zip(known.images, known.labels, strict=True))
    forms = {
        "loader": known.validation,
        "dataset": known.validation.dataset,
        "tensors": (known.images, known.labels),
        "arrays": (known.images.numpy(), known.labels.numpy()),
        "items": pairs,
        "batches": list(known.validation),
        "generator": (batch for batch in known.validation),
    }
    for name, data in forms.items():
        given = given_data(data, "validation")
        assert given.shape == (1, 12, 12), name
        split = given.split(spec_of(known.example), 10, Silent())
        images, labels = split.batch(range(len(split)))
        assert torch.equal(torch.from_numpy(images), known.images), name
        assert labels.tolist() == known.labels.tolist(), name


def test_data_of_a_recipe(known: Any) -> None:
    for data in ("builtin:digits", {"format": "digits"}, {"validation": "builtin:digits"}):
        split = given_data(data, "validation").split(spec_of((1, 12, 12)), 10, Silent())
        assert len(split) == 540
    for role in ("train", "calibration"):
        split = given_data("builtin:digits", role).split(spec_of((1, 12, 12)), 10, Silent())
        assert len(split) == 1257
    assert "the data block has no train images" in _error(
        given_data, {"validation": "builtin:digits"}, "train"
    )
    found = squeeze.evaluate(known.model, "builtin:digits", example=(1, 12, 12))
    assert found.accuracy.samples == 540


def test_bad_data(known: Any, tmp_path: Path) -> None:
    spec = spec_of(known.example)
    assert _error(given_data, [], "train") == "train: is empty"
    assert "found a int, expected a DataLoader" in _error(given_data, 3, "train")
    assert "the first item is a tuple of 3" in _error(given_data, [(1, 2, 3)], "train")
    assert "has 540 images and 3 labels" in _error(
        given_data, (known.images, known.labels[:3]), "train"
    )
    given = given_data((known.images, known.labels + 5), "validation")
    assert "has labels 5 to 14 for 10 classes" in _error(given.split, spec, 10, Silent())
    given = given_data((known.images[:, :, :8], known.labels), "validation")
    split = given.split(spec, 10, Silent())
    assert "is (1, 8, 12), the model takes (1, 12, 12)" in _error(split.batch, [0])
    assert "nowhere" in _error(given_data(tmp_path / "nowhere", "train").split, spec, 10, Silent())


def test_calibration_takes_images_alone_and_stops_reading_in_time(known: Any) -> None:
    read = []

    def images() -> Iterator[Any]:
        for batch, _ in known.validation:
            read.append(len(batch))
            yield batch

    given = given_data(images(), "calibration", most=100)
    assert len(given.items) == 100
    assert read == [64, 64]
    assert "expected a pair" in _error(given_data, images(), "validation")


def test_counts_are_at_least_one(known: Any) -> None:
    for samples in (0, -1, 2.5, True):
        what = f"samples: found {samples!r}, allowed: an integer of at least 1"
        assert _error(squeeze.evaluate, known.model, known.validation, samples=samples) == what
        assert _error(given_data, known.validation, "calibration", most=samples) == what
    assert "batch_size: found 0" in _error(squeeze.export, known.model, known.example, batch_size=0)


def test_progress_is_shown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert isinstance(chosen(None), StatusLine)


def test_progress_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(chosen(None), Silent)  # nobody looks at a test's stderr
    assert isinstance(chosen(progress=False), Silent)
    shown = chosen(progress=True)
    assert isinstance(shown, StatusLine)
    assert chosen(shown) is shown
    with shown.task("reading", 2) as advance:
        advance(note="half")
    shown.warn("odd")
    said = capsys.readouterr().err
    assert "reading 1/2: half" in said
    assert "\rwarning: odd\n" in said
    assert "found a str" in _error(chosen, "yes")
