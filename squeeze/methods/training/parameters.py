"""Which parameters train: patterns over module paths, freezing, and learning rates by layer.

A pattern is a module path or a parameter name, in which ``*`` stands for anything (dots included):
``stem``, ``layer1.*``, ``*.bn2``, ``*.bias``. A module that matches brings everything inside it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 4


def within(path: str, pattern: str) -> bool:
    """Tell whether a path, or something that holds it, matches the pattern."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


def matching(module: "nn.Module", patterns: Sequence[str], where: str) -> dict[str, set[str]]:
    """Return the names of the parameters that each pattern means.

    Raises:
        InputError: A pattern matches no parameter; the message has the nearest module paths.
    """
    names = [name for name, _ in module.named_parameters()]
    found = {pattern: {name for name in names if within(name, pattern)} for pattern in patterns}
    for pattern, matched in found.items():
        if not matched:
            paths = [path for path, _ in module.named_modules() if path]
            near = get_close_matches(pattern.strip("*."), paths, n=_SHOWN, cutoff=0.3)
            raise InputError(
                f"'{pattern}' matches no parameter of the model",
                where=where,
                hint=f"nearest module paths: {', '.join(near or paths[:_SHOWN])}",
            )
    return found


@contextmanager
def frozen(module: "nn.Module", patterns: Sequence[str], where: str) -> Iterator[None]:
    """Keep the matching parameters as they are for the time of the block.

    Raises:
        InputError: A pattern matches nothing, or nothing is left to train.
    """
    fixed = set().union(*matching(module, patterns, where).values())
    changed = [
        parameter
        for name, parameter in module.named_parameters()
        if name in fixed and parameter.requires_grad
    ]
    try:
        for parameter in changed:
            parameter.requires_grad = False
        if fixed and not any(p.requires_grad for p in module.parameters()):
            raise InputError("leaves nothing to train", where=where)
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad = True


def train_mode_(module: "nn.Module", patterns: Sequence[str]) -> None:
    """Set train mode, except for BatchNorms under a frozen path: their statistics stay too."""
    from torch.nn.modules.batchnorm import _BatchNorm

    module.train()
    for path, part in module.named_modules():
        if isinstance(part, _BatchNorm) and any(within(path, pattern) for pattern in patterns):
            part.eval()
