"""SSD300's backbone computes what torchvision's does."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from squeeze.models.detectors.torchvision import VggFeatures


def test_the_first_map_has_one_length_at_every_place_but_where_it_is_zero() -> None:
    torch.manual_seed(0)
    scale = nn.Parameter(torch.rand(4))
    first, second = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()), nn.Conv2d(4, 2, 3)
    features = VggFeatures(
        SimpleNamespace(scale_weight=scale, features=first, extra=nn.ModuleList([second]))
    )
    images = torch.randn(2, 3, 8, 8)
    images[1] = 0.0
    found = features(images)
    maps = first(images)
    expected = scale.view(1, -1, 1, 1) * functional.normalize(maps)
    assert torch.allclose(found["0"], expected, atol=1e-6)
    assert torch.equal(found["1"], second(maps))
    found["0"].sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in features.parameters())
