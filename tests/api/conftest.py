"""The digits as a user has them: preprocessed tensors, loaders, and a trained module."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from squeeze.data.sets import Data
from squeeze.models.types import Model


@dataclass(frozen=True)
class Digits:
    """Loaders of ``(images (N, 1, 12, 12), classes)``, and a module that knows them."""

    model: nn.Module
    train: DataLoader[Any]
    validation: DataLoader[Any]
    images: Tensor
    labels: Tensor

    @property
    def example(self) -> Tensor:
        return self.images[:1]


@pytest.fixture(scope="session")
def known(trained: Model, digits: Data) -> Digits:
    assert digits.train is not None
    sets = []
    for split in (digits.train, digits.validation):
        images, labels = split.batch(range(len(split)))
        sets.append((torch.from_numpy(images), torch.from_numpy(labels)))
    train, validation = (TensorDataset(*pair) for pair in sets)
    return Digits(
        trained.module,
        DataLoader(train, batch_size=64, shuffle=True),
        DataLoader(validation, batch_size=64),
        *sets[1],
    )


@pytest.fixture
def mine(known: Digits) -> nn.Module:
    """A copy that a test may change."""
    return deepcopy(known.model)
