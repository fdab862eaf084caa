"""The loss of classification."""

import pytest
import torch
from torch.nn import functional

from squeeze.tasks.classification import task as classification

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -0.2]])
LABELS = torch.tensor([0, 2])


def test_focal_loss_is_its_formula() -> None:
    likely = LOGITS.softmax(1)[[0, 1], LABELS]
    expected = (-((1 - likely) ** 2) * likely.log()).mean()
    found = classification.loss(LOGITS, LABELS, label_smoothing=0.0, focal_gamma=2.0)
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_focal_loss_with_a_tiny_exponent_is_cross_entropy() -> None:
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    for labels in (LABELS, shares):
        found = classification.loss(LOGITS, labels, label_smoothing=0.1, focal_gamma=1e-9)
        expected = functional.cross_entropy(LOGITS, labels, label_smoothing=0.1)
        assert float(found) == pytest.approx(float(expected), abs=1e-6)
