"""A detector of four convolutions that is sure of something without being trained."""

import torch
from torch import Tensor, nn

from squeeze.core.detector import DetectorSpec, Level


class Small(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 4, 1), nn.ReLU()
        )
        self.classes = nn.Conv2d(16, 2 * classes, 1)
        self.sides = nn.Conv2d(16, 2 * 4, 1)
        nn.init.normal_(self.classes.weight, std=3.0)
        anchors = ((20.0, 30.0), (40.0, 24.0))
        self.detector = DetectorSpec(
            "retinanet", classes, (Level(16.0, anchors),), nms_iou=0.4, max_detections=30
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.features(images)
        found = [head(maps).permute(0, 2, 3, 1) for head in (self.classes, self.sides)]
        count = images.shape[0]
        return found[0].reshape(count, -1, self.detector.classes), found[1].reshape(count, -1, 4)


def make(classes: int) -> Small:
    return Small(classes)
