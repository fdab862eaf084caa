"""Blocks of accuracy, changes and images: read back by their kind."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from squeeze.core import tasks
from squeeze.results import (
    AccuracyBlock,
    ChangeBlock,
    ClassificationAccuracy,
    ClassificationChange,
    ClassificationPicture,
    DetectionAccuracy,
    DetectionChange,
    DetectionPicture,
    Estimate,
    PictureBlock,
)

ONE = Estimate(value=0.5, low=0.4, high=0.6)
BLOCKS = [
    (AccuracyBlock, ClassificationAccuracy(samples=2, top1=ONE, top5=ONE)),
    (
        AccuracyBlock,
        DetectionAccuracy(
            samples=2,
            boxes=3,
            map=ONE,
            ap50=ONE,
            ap75=0.1,
            small=None,
            medium=None,
            large=0.2,
            recall=0.3,
            voc_ap50=0.4,
            per_class=(),
        ),
    ),
    (
        ChangeBlock,
        ClassificationChange(drop=ONE, top5_drop=ONE, agreement=ONE, regressions=1, fixes=0),
    ),
    (ChangeBlock, DetectionChange(drop=ONE, ap50_drop=ONE, agreement=ONE)),
    (
        PictureBlock,
        ClassificationPicture(name="a", label="b", baseline="b", candidate="c", png=""),
    ),
    (PictureBlock, DetectionPicture(name="a", objects=1, baseline="", candidate="", png="")),
]


@pytest.mark.parametrize(("union", "block"), BLOCKS)
def test_a_block_is_read_back_by_its_kind(union: Any, block: Any) -> None:
    adapter = TypeAdapter(union)
    plain = adapter.dump_python(block, mode="json")
    assert plain["kind"] == block.kind
    assert adapter.validate_python(plain) == block
    with pytest.raises(ValidationError, match="kind"):
        adapter.validate_python({key: plain[key] for key in plain if key != "kind"})
    other = "detection" if block.kind == "classification" else "classification"
    with pytest.raises(ValidationError, match=other):
        adapter.validate_python(plain | {"kind": other})


@pytest.mark.parametrize(("union", "block"), BLOCKS[:4])
def test_a_block_has_every_metric_that_its_task_promises(union: Any, block: Any) -> None:
    spec = tasks.spec_of(block.kind)
    if union is AccuracyBlock:
        assert list(block.figures) == [metric.label for metric in spec.metrics]
        assert block.headline[0] == spec.main.label
        assert all(block.figure(metric.name) == ONE for metric in spec.metrics)
        assert block.figure("no such metric") is None
        return
    for metric in spec.metrics:
        assert block.drop_of(metric.name) == ONE
    assert block.drop_of("no such metric") is None
