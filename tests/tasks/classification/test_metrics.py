"""Scores of classes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

from squeeze.data.sets import Data
from squeeze.tasks.classification import metrics


def test_pictures_that_got_worse_come_first(digits: Data) -> None:
    labels = digits.validation.labels
    before = np.stack([labels] * 5, axis=1)
    after = before.copy()
    after[7, 0] = (labels[7] + 1) % 10
    before[3, 0] = (labels[3] + 1) % 10
    found = list(metrics.changed(before, after, digits.validation))
    assert [picture.label for picture in found] == [str(labels[7]), str(labels[3])]
    assert found[0].baseline == found[0].label != found[0].candidate
    image = Image.open(io.BytesIO(base64.b64decode(found[0].png)))
    assert image.size == (96, 96)
    assert list(metrics.changed(before, before, digits.validation)) == []


def test_always_answering_one_class_is_seen_and_is_no_better_than_chance() -> None:
    labels = np.array([0] * 40 + [1] * 30 + [2] * 30)
    found = metrics.score(np.zeros((100, 1), np.int64), labels)
    assert (found.top1.value, found.guess, found.constant) == (0.4, 0.4, True)
    assert found.guess_p == pytest.approx(binom.sf(39, 100, 0.4))
    assert len(found.doubts) == 2
    found = metrics.score(labels[:, None], labels)
    assert (found.constant, found.guess_p < 1e-30, found.doubts) == (False, True, ())


@pytest.mark.parametrize(("right", "doubted"), [(48, True), (49, False)])
def test_a_few_hits_more_than_chance_gives_are_not_enough(right: int, *, doubted: bool) -> None:
    """The one-sided test at 5 %: of 100 samples at 40 %, 48 hits come by chance, 49 rarely do."""
    labels = np.array([0] * 40 + [1] * 30 + [2] * 30)
    predictions = labels.copy()
    predictions[right:] = (labels[right:] + 1) % 3
    found = metrics.score(predictions[:, None], labels)
    assert found.top1.value == right / 100
    assert bool(binom.sf(right - 1, 100, 0.4) > 0.05) is doubted
    assert bool(found.doubts) is doubted
