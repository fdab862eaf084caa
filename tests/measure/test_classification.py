"""Scores of classes."""

import base64
import io

import numpy as np
from PIL import Image

from squeeze.measure import classification
from squeeze.sources.data import Data


def test_pictures_that_got_worse_come_first(digits: Data) -> None:
    labels = digits.validation.labels
    before = np.stack([labels] * 5, axis=1)
    after = before.copy()
    after[7, 0] = (labels[7] + 1) % 10
    before[3, 0] = (labels[3] + 1) % 10
    found = list(classification.changed(before, after, digits.validation))
    assert [picture.label for picture in found] == [str(labels[7]), str(labels[3])]
    assert found[0].baseline == found[0].label != found[0].candidate
    image = Image.open(io.BytesIO(base64.b64decode(found[0].png)))
    assert image.size == (96, 96)
    assert list(classification.changed(before, before, digits.validation)) == []
