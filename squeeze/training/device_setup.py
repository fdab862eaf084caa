"""The device of a training run, its number format, and the global switches of torch."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def device_for(settings: TrainSettings, where: str) -> str:
    """Return ``cuda`` where there is one, else ``cpu``.

    Raises:
        InputError: The settings ask for what the device cannot do.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and settings.precision == "fp16":
        raise InputError(
            "fp16 needs a GPU, and this machine has none",
            where=f"{where}, precision",
            hint="use fp32, or bf16, which works on the CPU too",
        )
    return device


@contextmanager
def switched(settings: TrainSettings, device: str) -> Iterator[None]:
    """Set torch's global switches for the duration of the block, and restore them."""
    import torch

    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get(_WORKSPACE),
    )
    try:
        if settings.deterministic:
            # cuBLAS reads this when its handle is made, and torch refuses to run without it
            os.environ.setdefault(_WORKSPACE, ":4096:8")
            torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = device == "cuda" and not settings.deterministic
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
        if before[3] is None:
            os.environ.pop(_WORKSPACE, None)


def autocast(settings: TrainSettings, device: str) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs in bf16 or fp16, if asked for."""
    import torch

    if settings.precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float16
    return torch.autocast(device, dtype=dtype)


def scaler(settings: TrainSettings, device: str) -> "GradScaler":
    """Return a gradient scaler; it does nothing unless training runs in fp16."""
    import torch

    return torch.amp.GradScaler(device, enabled=settings.precision == "fp16")
