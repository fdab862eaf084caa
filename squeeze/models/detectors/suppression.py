"""Suppression inside a model's graph: a batch at once, and an output of fixed shape.

torchvision's own takes one image and returns as many positions as remain, which neither a graph for
any batch size nor one of fixed shapes can hold. ``runtimes/onnxruntime/suppression.py`` says what
the operator is in ONNX.
"""

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import Tensor  # noqa: TID253


@torch.library.custom_op("squeeze::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Tell which boxes stay when each removes those that overlap it and score less.

    Args:
        boxes: xyxy ``(B, n, 4)``; each of B is suppressed by itself. Empty ones overlap nothing.
        scores: ``(B, n)``; of equal ones the first comes first.
        overlap: Intersection over union above which a box is removed, (0, 1].

    Returns:
        ``(B, n)`` bool.
    """
    from torchvision.ops import nms

    stay = torch.zeros_like(scores, dtype=torch.bool)
    for number in range(len(boxes)):
        stay[number, nms(boxes[number], scores[number], overlap)] = True
    return stay


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    del boxes, overlap
    return torch.empty_like(scores, dtype=torch.bool)
