"""What a factory returns is refused with its reason, not with a traceback, where it cannot work."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from squeeze.core.errors import InputError
from squeeze.models import factory, usable


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10)).eval()


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return plain()


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return plain()


def with_buffer(tensor: torch.Tensor, *, persistent: bool = True) -> nn.Module:
    module = plain()
    module.register_buffer("table", tensor, persistent=persistent)
    return module


IMAGES = torch.zeros(2, 1, 8, 8)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "number": (lambda: 3, "returned int, expected a torch.nn.Module"),
    "class": (lambda: nn.Identity, "returned type, expected a torch.nn.Module"),
    "scripted": (lambda: torch.jit.script(plain()), "returned TorchScript, whose layers cannot"),
    "traced": (
        lambda: torch.jit.trace(plain(), IMAGES),  # type: ignore[no-untyped-call]
        "returned TorchScript, whose layers cannot be changed",
    ),
    "part scripted": (
        lambda: nn.Sequential(nn.ReLU(), torch.jit.script(plain())),
        "'1' is TorchScript, whose layers cannot be changed",
    ),
    "exported": (
        lambda: torch.export.export(plain(), (IMAGES,)).module(),
        "returned an exported program, whose layers cannot be changed",
    ),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), "'0.weight' has no shape yet"),
    "meta": (on_meta, "'0.weight' is on the meta device and holds no values"),
    "inference": (in_inference_mode, "'0.weight' was made in inference mode"),
    "sparse": (lambda: with_buffer(torch.eye(3).to_sparse()), "'table' is sparse"),
    "not stored": (
        lambda: with_buffer(torch.empty(3, device="meta"), persistent=False),
        "'table' is on the meta device",
    ),
    "quantized": (
        lambda: with_buffer(torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)),
        "'table' is quantized",
    ),
    "quantized layers": (
        lambda: torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            plain(), {nn.Linear}, dtype=torch.qint8
        ),
        "of its state_dict is a dtype, not a tensor",
    ),
}


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_changed_is_refused_with_its_reason(kind: str) -> None:
    make, expected = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        usable.checked(make(), "./my_model.py:make")
    assert str(caught.value).startswith("./my_model.py:make: ")
    assert expected in str(caught.value)


def test_a_plain_module_comes_back_in_eval_mode() -> None:
    module = with_buffer(torch.zeros(1).expand(5)).train()
    module.register_parameter("absent", None)
    assert usable.checked(module, "") is module
    assert not module.training


def test_a_caller_in_inference_mode_gets_a_model_that_trains() -> None:
    with torch.inference_mode():
        module = factory.make("builtin:resnet8", {"in_channels": 1}, Path())
    module(torch.ones(2, 1, 12, 12)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
