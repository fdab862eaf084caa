"""The moving average of a model's weights and buffers: often a better model than the last one.

Source: https://arxiv.org/abs/1703.01780 (mean teacher); the ramp of the decay is that of
TensorFlow's ``ExponentialMovingAverage(num_updates=…)``: min(decay, (1 + t) / (10 + t)).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def tensors_of(module: "nn.Module") -> "dict[str, Tensor]":
    """Return all parameters and buffers, those that a state dict leaves out included."""
    return {
        name: tensor.detach()
        for tensors in (module.named_parameters(), module.named_buffers())
        for name, tensor in tensors
    }


def load_(module: "nn.Module", values: "Mapping[str, Tensor]") -> None:
    """Copy values into a module's parameters and buffers, wherever those are."""
    for name, tensor in tensors_of(module).items():
        tensor.copy_(values[name])


class Average:
    """The average, beside the module that it follows.

    Args:
        module: On its device already.
        decay: Weight of the past, (0, 1).

    Attributes:
        values: The averaged tensors; integers (BatchNorm's counters) are those of the module.
        updates: How often it followed.
    """

    def __init__(self, module: "nn.Module", decay: float) -> None:
        self._module, self._decay = module, decay
        self.values = {name: tensor.clone() for name, tensor in tensors_of(module).items()}
        self.updates = 0

    def follow(self) -> None:
        """Update with the module's present weights."""
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        now = tensors_of(self._module)
        floats = [name for name, tensor in now.items() if tensor.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(
            [self.values[name] for name in floats], [now[name] for name in floats], self.updates
        )
        for name in now.keys() - set(floats):
            self.values[name].copy_(now[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the module for the duration of the block."""
        own = {name: tensor.clone() for name, tensor in tensors_of(self._module).items()}
        load_(self._module, self.values)
        try:
            yield
        finally:
            load_(self._module, own)
