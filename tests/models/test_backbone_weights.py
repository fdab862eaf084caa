"""A classifier's weights go into a detector's backbone, whole or not at all."""

import pytest
import torch
from torchvision import models as zoo

from squeeze.core.errors import InputError
from squeeze.models.detectors import torchvision as detectors
from squeeze.models.detectors.tinydet import tinydet
from squeeze.models.weights import load_backbone_


def test_mobilenet_goes_into_tinydet() -> None:
    classifier = zoo.mobilenet_v2(weights=None, width_mult=0.25, num_classes=7)
    module = tinydet(3, width_mult=0.25, channels=16)
    before = module.heads[0].cls_logits.weight.clone()  # type: ignore[union-attr, operator]
    load_backbone_(module, classifier.state_dict(), where="file")
    images = torch.rand(1, 3, 64, 64)
    own = module.backbone.eval()(images)[-1]
    assert torch.equal(own, classifier.features[:17].eval()(images))
    assert torch.equal(before, module.heads[0].cls_logits.weight)  # type: ignore[union-attr, arg-type]


def test_resnet_goes_below_a_pyramid() -> None:
    classifier = zoo.resnet50(weights=None)
    tensors = {
        key: value for key, value in classifier.state_dict().items() if "num_batches" not in key
    }
    module = detectors.build("retinanet_resnet50_fpn", {"num_classes": 3})
    load_backbone_(module, tensors, where="file")
    body = module.backbone.body.state_dict()  # type: ignore[union-attr, operator]
    assert all(torch.equal(body[key], tensors[key]) for key in body if key in tensors)


def test_what_does_not_fit_is_refused() -> None:
    module = tinydet(3, width_mult=0.25, channels=16)
    other = zoo.mobilenet_v2(weights=None, width_mult=0.5).state_dict()
    with pytest.raises(InputError, match=r"does not fit the backbone: .* another shape: features"):
        load_backbone_(module, other, where="file")
    with pytest.raises(InputError, match="a Linear has no submodule 'backbone'"):
        load_backbone_(torch.nn.Linear(2, 2), other, where="file")
