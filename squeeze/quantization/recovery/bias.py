"""Move a layer's bias by what rounding its weights did to the mean of its outputs.

Source: Nagel et al., Data-Free Quantization (https://arxiv.org/abs/1906.04721), section 4.2, with
input means from calibration data.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def shift(error: "Tensor", mean: "Tensor") -> "Tensor":
    """Return what to add to the bias, ``(G * O,)``.

    Args:
        error: Rounded minus float weights, ``(G, O, K)``.
        mean: The mean of the inputs, ``(G, K)``.
    """
    import torch

    return -torch.einsum("gok,gk->go", error, mean).reshape(-1)
