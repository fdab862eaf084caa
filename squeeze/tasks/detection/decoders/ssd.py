"""Offsets to default boxes with a softmax that has a background; the best of every class are kept.

Source: Liu et al., SSD: Single Shot MultiBox Detector (https://arxiv.org/abs/1512.02325).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import base, retinanet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec

boxes = retinanet.boxes
regression = retinanet.regression


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return the best of every class over all levels."""
    found = []
    for scores, own in zip(base.probabilities(outputs, spec), outputs[1], strict=True):
        chosen, classes, kept = _best_of_classes(scores, spec)
        decoded = boxes(own[chosen], places.take(chosen), spec)
        found.append(base.Candidates(base.clip(decoded, places.size), kept, classes))
    return found


def _best_of_classes(scores: "Tensor", spec: "DetectorSpec") -> "tuple[Tensor, Tensor, Tensor]":
    import torch

    places, classes, kept = [], [], []
    for number in range(scores.shape[1]):
        chosen, best = base.largest(scores[:, number], spec)
        places.append(chosen)
        classes.append(torch.full_like(chosen, number))
        kept.append(best)
    return torch.cat(places), torch.cat(classes), torch.cat(kept)
