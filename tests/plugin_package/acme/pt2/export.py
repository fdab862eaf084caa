"""Torch module to program."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.output import redirect_output
from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.store import new_file

if TYPE_CHECKING:
    from torch import nn


def export(model: Model, path: Path, *, batch_size: int = 1, log: Path | None = None) -> None:
    """Write a program with a dynamic batch."""
    del batch_size
    write(copied(model.module), path, model.input.shape, log)


def write(module: "nn.Module", path: Path, shape: tuple[int, int, int], log: Path | None) -> None:
    """Export a module and save its program; the file appears whole or not at all."""
    import torch

    example = torch.zeros(2, *shape)
    with redirect_output(log), new_file(path) as inside:
        batch = torch.export.Dim("batch")
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},))
        with inside.open("wb") as file:
            torch.export.save(program, file)
