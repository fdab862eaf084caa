"""Offsets of every class to proposals, with a softmax that has a background.

All that passes the threshold goes into suppression. Empty proposals, which pad what the first stage
found, decode to empty boxes and are dropped.

Source: Ren et al., Faster R-CNN, equation 2 (https://arxiv.org/abs/1506.01497); Girshick, Fast
R-CNN, section 2.1 (https://arxiv.org/abs/1504.08083).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import base, retinanet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec

SMALLEST = 0.01
"""Boxes with a shorter side are dropped, in pixels, as in torchvision."""

boxes = retinanet.boxes
regression = retinanet.regression


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return what passes the threshold, each class of a proposal with a box of its own.

    Args:
        outputs: Class logits ``(N, P, K + 1)``, regression ``(N, P, 4 * (K + 1))`` and proposals
            with their objectness ``(N, P, 5)``.
        places: Gives the size of the input.
        spec: The detector's numbers.
    """
    import torch

    found = []
    for scores, own, proposals in zip(
        base.probabilities(outputs, spec), outputs[1], outputs[2], strict=True
    ):
        of_class = _without_background(own.reshape(len(own), -1, 4), spec)
        chosen, classes = torch.where(scores > spec.score_threshold)
        at = base.Places(proposals[chosen, :4], proposals.new_zeros(0, 2), (), places.size)
        decoded = base.clip(boxes(of_class[chosen, classes], at, spec), places.size)
        real = ((decoded[:, 2:] - decoded[:, :2]) >= SMALLEST).all(-1)
        kept = scores[chosen, classes]
        found.append(base.Candidates(decoded[real], kept[real], classes[real]))
    return found


def _without_background(columns: "Tensor", spec: "DetectorSpec") -> "Tensor":
    """Return ``(P, K, 4)`` of ``(P, K + 1, 4)``."""
    import torch

    if spec.background is None:
        return columns
    after = spec.background + 1
    return torch.cat([columns[:, : spec.background], columns[:, after:]], dim=1)
