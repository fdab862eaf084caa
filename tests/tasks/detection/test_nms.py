"""Suppression against the definition, written out in loops."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from squeeze.core.detector import DetectorSpec
from squeeze.tasks.detection import nms
from squeeze.tasks.detection.decoders.base import Candidates

SPEC = DetectorSpec("detr", 3, nms="greedy", nms_iou=0.4, score_threshold=0.1, max_detections=40)


@pytest.fixture
def crowd() -> Candidates:
    torch.manual_seed(0)
    corner = torch.rand(120, 2) * 60
    boxes = torch.cat([corner, corner + 10 + torch.rand(120, 2) * 30], dim=1)
    return Candidates(boxes, 0.1 + 0.9 * torch.rand(120), torch.randint(0, 3, (120,)))


def greedy(found: Candidates, limit: float) -> list[int]:
    kept: list[int] = []
    overlap = box_iou(found.boxes, found.boxes)
    for place in found.scores.argsort(descending=True).tolist():
        rivals = [other for other in kept if found.classes[other] == found.classes[place]]
        if all(overlap[place, other] <= limit for other in rivals):
            kept.append(place)
    return kept


def test_greedy_is_the_definition(crowd: Candidates) -> None:
    kept, scores = nms.suppress(crowd, SPEC)
    assert kept.tolist() == greedy(crowd, 0.4)[:40]
    assert torch.equal(scores, crowd.scores[kept])


def soft(found: Candidates, sigma: float, least: float) -> list[tuple[int, float]]:
    scores = dict(enumerate(found.scores.tolist()))
    overlap = box_iou(found.boxes, found.boxes).numpy()
    kept = []
    while scores:
        best = max(scores, key=lambda place: scores[place])
        score = scores.pop(best)
        if score > least:
            kept.append((best, score))
        for other in scores:
            if found.classes[other] == found.classes[best]:
                scores[other] *= float(np.exp(-(overlap[best, other] ** 2) / sigma))
    return kept


def test_soft_is_the_definition(crowd: Candidates) -> None:
    places, scores = nms.soft_nms(
        crowd.boxes, crowd.scores, crowd.classes, sigma=0.5, score_threshold=0.1
    )
    expected = soft(crowd, 0.5, 0.1)
    assert places.tolist() == [place for place, _ in expected]
    assert scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


def test_nothing_found_is_nothing() -> None:
    none = Candidates(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    kinds = (DetectorSpec("detr", 1, nms=kind) for kind in ("greedy", "soft", "none"))
    assert [len(nms.suppress(none, spec)[0]) for spec in kinds] == [0, 0, 0]
