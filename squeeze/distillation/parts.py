"""The learned parts of losses: trained along with the student and thrown away afterwards."""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only to train)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from squeeze.distillation.traits import Views
    from squeeze.tasks.base import Labels

    Compute = Callable[[Views, Views, Labels], Tensor]
    """Student, teacher and labels ``(N,)``, or a list of N ``Boxes``, to a scalar."""


class Term(nn.Module):
    """One distillation loss: a function and the parts that it learns.

    Args:
        compute: Student views, teacher views and labels to a scalar.
        learned: Parts that ``compute`` calls; their parameters are trained.
    """

    def __init__(self, compute: "Compute", *learned: nn.Module) -> None:
        super().__init__()
        self.learned = nn.ModuleList(learned)
        self.compute = compute

    def forward(self, student: "Views", teacher: "Views", labels: "Labels") -> "Tensor":
        """Return the scalar loss."""
        return self.compute(student, teacher, labels)


def regressor(channels_in: int, channels_out: int) -> nn.Module:
    """Return a 1x1 convolution with batch norm, ``(N, C_in, H, W) -> (N, C_out, H, W)``."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
    )


def channel_adapter(channels_in: int, channels_out: int) -> nn.Module:
    """Return a 1x1 convolution where the channels differ, otherwise the identity."""
    if channels_in == channels_out:
        return nn.Identity()
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


def width_adapter(features_in: int, features_out: int) -> nn.Module:
    """Return a linear map ``(N, D_in) -> (N, D_out)`` where widths differ, else the identity."""
    return nn.Identity() if features_in == features_out else nn.Linear(features_in, features_out)


def convolutions(*channels: int) -> nn.Sequential:
    """Return 3x3 convolutions, each with batch norm and leaky ReLU, through these widths.

    Source: Kim et al., Paraphrasing Complex Network, section 3.1: paraphraser and translator.
    """
    layers: list[nn.Module] = []
    for channels_in, channels_out in pairwise(channels):
        layers += [
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*layers)


class Gaussian(nn.Module):
    """The distribution of a teacher's map given the student's: a mean and channel variances.

    Source: Ahn et al., Variational Information Distillation.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, variance: float, floor: float
    ) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 1, bias=False),
        )
        start = torch.log(torch.expm1(torch.tensor(variance - floor)))
        self.spread = nn.Parameter(start.repeat(channels_out))
        self.floor = floor

    def forward(self, x: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return mean ``(N, C, H, W)`` and variance ``(1, C, 1, 1)``."""
        return self.mean(x), (functional.softplus(self.spread) + self.floor).view(1, -1, 1, 1)


class Fusion(nn.Module):
    """Attention-based fusion of a level's features with those of all deeper levels.

    Source: Chen et al., Distilling Knowledge via Knowledge Review, figure 3 (a).
    """

    def __init__(self, channels_in: int, middle: int, channels_out: int, *, deepest: bool) -> None:
        super().__init__()
        self.inner = regressor(channels_in, middle)
        self.outer = nn.Sequential(
            nn.Conv2d(middle, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out)
        )
        self.attention = (
            None if deepest else nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid())
        )

    def forward(self, x: "Tensor", deeper: "Tensor | None") -> "tuple[Tensor, Tensor]":
        """Return what is compared ``(N, C_out, H, W)`` and what is fused ``(N, middle, H, W)``."""
        x = self.inner(x)
        if self.attention is not None and deeper is not None:
            deeper = functional.interpolate(deeper, x.shape[2:], mode="nearest")
            share = self.attention(torch.cat([x, deeper], dim=1))
            x = x * share[:, :1] + deeper * share[:, 1:]
        return self.outer(x), x
