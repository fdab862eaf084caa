"""The thin ResNets for small images: 6n+2 layers, 16-32-64 channels.

Source: He et al., Deep Residual Learning for Image Recognition, section 4.2
(https://arxiv.org/abs/1512.03385). Where a shortcut meets more channels it is a projection (option
B), or, as in the paper's own networks, padded with zeros and free of parameters (option A). Weights
whose layers are called as in torchvision's ResNets (``layer1``, ``downsample``) or whose classifier
is called ``linear`` fit as they are.
"""

from typing import TYPE_CHECKING, Literal

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253

from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

Shortcut = Literal["projection", "padded"]
Padding = Literal["both_sides", "behind"]


class PaddedShortcut(nn.Module):
    """Every ``stride``-th pixel and zeros as new channels, ``(N, C_in, ...) -> (N, C_out, ...)``.

    The zeros go half in front of the old channels and half behind them (``both_sides``), or all
    ``behind``. Input and output lose channels on their own: what a lost input channel fed reads
    zeros.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, padding: Padding = "both_sides"
    ) -> None:
        super().__init__()
        self.stride = stride
        new = channels_out - channels_in
        front = new // 2 if padding == "both_sides" else 0
        picks = [*[-1] * front, *range(channels_in), *[-1] * (new - front)]
        self.pad = Select(picks, channels_in, coupled=False)

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the shortcut's output."""
        return self.pad(x[:, :, :: self.stride, :: self.stride])  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, ``(N, C_in, H, W) -> (N, C_out, H/s, W/s)``."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, shortcut: Shortcut, padding: Padding
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 1 and channels_in == channels_out:
            return
        if shortcut == "padded":
            self.shortcut = PaddedShortcut(channels_in, channels_out, stride, padding)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the block's output."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """Images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``.

    Attributes:
        other_names: Patterns of names that files of weights use, and this module's own names.

    Raises:
        ValueError: ``shortcut`` or ``padding`` is none of those allowed, or ``padding`` is given
            and nothing is padded.
    """

    other_names = (
        (r"^layer1\.", "stages.0."),
        (r"^layer2\.", "stages.1."),
        (r"^layer3\.", "stages.2."),
        (r"\.downsample\.", ".shortcut."),
        (r"^linear\.", "fc."),
    )

    def __init__(
        self,
        blocks: int,
        num_classes: int,
        in_channels: int,
        shortcut: Shortcut,
        *,
        padding: Padding | None = None,
    ) -> None:
        super().__init__()
        if shortcut not in {"projection", "padded"}:
            raise ValueError(f"shortcut is '{shortcut}', allowed: projection, padded")
        if padding not in {None, "both_sides", "behind"}:
            raise ValueError(f"padding is '{padding}', allowed: both_sides, behind")
        if padding is not None and shortcut != "padded":
            raise ValueError("padding has no effect without shortcut: padded")
        padding = padding or "both_sides"
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages: list[nn.Module] = []
        for index, width in enumerate((16, 32, 64)):
            previous = 16 if index == 0 else width // 2
            stride = 1 if index == 0 else 2
            stages.append(
                nn.Sequential(
                    BasicBlock(previous, width, stride, shortcut, padding),
                    *(BasicBlock(width, width, 1, shortcut, padding) for _ in range(blocks - 1)),
                )
            )
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: "Tensor") -> "Tensor":
        """Return logits."""
        x = self.stages(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def resnet8(
    num_classes: int = 10,
    in_channels: int = 3,
    shortcut: Shortcut = "projection",
    padding: Padding | None = None,
) -> CifarResNet:
    """Build the 8-layer network; padded shortcuts are padded on ``both_sides`` by default."""
    return CifarResNet(1, num_classes, in_channels=in_channels, shortcut=shortcut, padding=padding)


def resnet20(
    num_classes: int = 10,
    in_channels: int = 3,
    shortcut: Shortcut = "projection",
    padding: Padding | None = None,
) -> CifarResNet:
    """Build the 20-layer network; padded shortcuts are padded on ``both_sides`` by default."""
    return CifarResNet(3, num_classes, in_channels=in_channels, shortcut=shortcut, padding=padding)


def resnet56(
    num_classes: int = 10,
    in_channels: int = 3,
    shortcut: Shortcut = "projection",
    padding: Padding | None = None,
) -> CifarResNet:
    """Build the 56-layer network; padded shortcuts are padded on ``both_sides`` by default."""
    return CifarResNet(9, num_classes, in_channels=in_channels, shortcut=shortcut, padding=padding)
