"""Read the feature maps of a running model: hooks on instances, gone when the context ends."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class TappedTensors:
    """What the last forward pass left, by module path."""

    outputs: "dict[str, Tensor]" = field(default_factory=dict)
    inputs: "dict[str, Tensor]" = field(default_factory=dict)

    def clear(self) -> None:
        """Let go of all tensors, and so of the graph behind them."""
        self.outputs.clear()
        self.inputs.clear()


@contextmanager
def tap(
    module: "nn.Module", outputs: Iterable[str], inputs: Iterable[str] = ()
) -> Iterator[TappedTensors]:
    """Keep what submodules return and take, as long as the context lasts.

    A submodule that runs several times in a forward pass leaves its last tensor. Only tensors are
    kept. Several contexts on one model are independent.

    Args:
        module: The model; its hooks are removed, also after an exception.
        outputs: Paths (as in ``named_modules``) whose outputs to keep.
        inputs: Paths whose first inputs to keep.

    Yields:
        The tensors of the most recent forward pass.
    """
    kept, named = TappedTensors(), dict(module.named_modules())
    after, before = [(p, named[p]) for p in outputs], [(p, named[p]) for p in inputs]
    handles: list[RemovableHandle] = []
    try:
        handles += [part.register_forward_hook(_output(kept, p)) for p, part in after]
        handles += [part.register_forward_pre_hook(_input(kept, p)) for p, part in before]
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _output(kept: TappedTensors, path: str) -> Callable[..., None]:
    def keep(_module: "nn.Module", _inputs: object, output: object) -> None:
        import torch

        if isinstance(output, torch.Tensor):  # a copy: an in-place activation may follow
            kept.outputs[path] = output.clone()

    return keep


def _input(kept: TappedTensors, path: str) -> Callable[..., None]:
    def keep(_module: "nn.Module", inputs: tuple[object, ...]) -> None:
        import torch

        if inputs and isinstance(inputs[0], torch.Tensor):
            kept.inputs[path] = inputs[0]

    return keep
