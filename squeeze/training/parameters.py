"""Which parameters train: freezing, and learning rates by layer.

Patterns mean what they mean everywhere (``core.patterns``); here they may name parameters too, such
as ``*.bias``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from squeeze.core import patterns
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def matching(module: "nn.Module", wanted: Sequence[str], where: str) -> dict[str, set[str]]:
    """Return the names of the parameters that each pattern matches.

    Raises:
        InputError: A pattern matches no parameter; the message has the nearest names.
    """
    names, layers = [name for name, _ in module.named_parameters()], patterns.layers_of(module)
    found: dict[str, set[str]] = {}
    for pattern in wanted:
        hits = {*patterns.hits(layers | dict.fromkeys(names, ""), pattern)}
        found[pattern] = {name for name in names if patterns.inside(name, hits)}
        if not found[pattern]:
            raise patterns.none_matches(pattern, layers, where=where, others=names)
    return found


@contextmanager
def frozen(module: "nn.Module", wanted: Sequence[str], where: str) -> Iterator[None]:
    """Keep the matching parameters as they are for the duration of the block.

    Raises:
        InputError: A pattern matches nothing, or nothing is left to train.
    """
    fixed = set().union(*matching(module, wanted, where).values())
    changed = [
        parameter
        for name, parameter in module.named_parameters()
        if name in fixed and parameter.requires_grad
    ]
    try:
        for parameter in changed:
            parameter.requires_grad = False
        if fixed and not any(p.requires_grad for p in module.parameters()):
            raise InputError("leaves nothing to train", where=where, hint="freeze fewer layers")
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad = True


def train_mode_(module: "nn.Module", wanted: Sequence[str]) -> None:
    """Set train mode, except for BatchNorms under a frozen path: their statistics stay too."""
    from torch.nn.modules.batchnorm import _BatchNorm

    module.train()
    layers = patterns.layers_of(module)
    fixed = {path for pattern in wanted for path in patterns.hits(layers, pattern)}
    for path, part in module.named_modules():
        if isinstance(part, _BatchNorm) and patterns.inside(path, fixed):
            part.eval()
