"""Small networks for tests of what is coupled with what."""

import torch
from torch import Tensor, nn
from torch.nn import functional

MIXED_UP = r"channels and the weights that read them do not correspond"
"""In the reason of a group whose channels are paired with the weights of others."""


class Net(nn.Module):
    """Convolutions of three channels into ``a`` and of ``a`` into ``b``, and a head."""

    def __init__(self, a: int = 8, b: int = 8, wide: int = 8, **layers: nn.Module) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, a, 3, padding=1), nn.Conv2d(a, b, 3, padding=1)
        self.head = nn.Linear(wide, 4)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.a(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(self.features(x))).mean((2, 3)))  # type: ignore[no-any-return]


class ChannelsLast(Net):
    """A map that is flattened position by position."""

    def __init__(self) -> None:
        super().__init__(wide=8 * 16)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(torch.relu(self.b(self.features(x))), 4)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))  # type: ignore[no-any-return]
