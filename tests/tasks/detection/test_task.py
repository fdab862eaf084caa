"""The detection task on a real detector and drawn scenes."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from squeeze.core.boxes import Detections
from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning.step import PruneContext, run
from squeeze.recipe.schema import DataBlock, InputSpec, ModelBlock, PruneStep
from squeeze.tasks import open_task
from squeeze.tasks.detection.task import Detection

SIDE = 96
SPEC = InputSpec(shape=(3, SIDE, SIDE), fit="letterbox")
ARGS = {"num_classes": 10, "width_mult": 0.25, "channels": 16}


@pytest.fixture(scope="module")
def scenes() -> Data:
    part = {"format": "digit_scenes", "args": {"scenes": 8, "side": 72, "most": 3}}
    block = DataBlock.model_validate({"train": part, "validation": part | {"split": "validation"}})
    return open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=False)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return build(ModelBlock(build="builtin:tinydet", args=ARGS, input=SPEC), Path())


@pytest.fixture(scope="module")
def task(model: Model) -> Detection:
    found = Detection((SIDE, SIDE)).of(model.module)
    assert found.spec is model.module.detector
    return found


def perfect(data: Data) -> list[Detections]:
    """The truth itself, in pixels of the input."""
    return [
        Detections.of(boxes.xyxy, np.full(len(boxes), 0.9), boxes.classes)
        for boxes in data.validation.labels
    ]


def test_the_truth_scores_one_in_pictures_of_another_size(scenes: Data, task: Detection) -> None:
    found = task.score(perfect(scenes), scenes.validation)
    assert found.samples == 8
    assert (found.map.value, found.ap50.value) == pytest.approx((1.0, 1.0))
    assert found.boxes == sum(len(boxes) for boxes in scenes.validation.truth)


def test_a_lost_box_is_a_drop_and_a_picture(scenes: Data, task: Detection) -> None:
    before = perfect(scenes)
    after = list(before)
    after[5] = before[5].take(slice(0, 0))
    change = task.compare(before, after, scenes.validation)
    assert change.drop.value > 0
    total = sum(map(len, before))
    assert change.agreement.value == pytest.approx((total - len(before[5])) / total)
    (picture,) = task.changed(before, after, scenes.validation)
    count = len(before[5])
    assert picture.objects == count
    assert picture.baseline == f"{count} right, 0 wrong, 0 missed"
    assert picture.candidate == f"0 right, 0 wrong, {count} missed"
    image = Image.open(io.BytesIO(base64.b64decode(picture.png)))
    assert image.width == 2 * 240 + 4
    pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 100) & (pixels[..., 2] < 100)
    assert red[:, :240].sum() > red[:, 244:].sum()


def test_torch_is_evaluated_like_a_file(scenes: Data, model: Model, task: Detection) -> None:
    images, _ = scenes.validation.batch(range(8))
    with torch.inference_mode():
        outputs = tuple(part.numpy() for part in model.module.eval()(torch.from_numpy(images)))
    found = task.score(task.predictions(outputs), scenes.validation)
    assert task.evaluate(model.module, scenes.validation, "cpu") == pytest.approx(found.map.value)


def test_crop_other_classes_and_classifiers_are_refused(model: Model, task: Detection) -> None:
    task.check_model(model.module, SPEC, 10)
    with pytest.raises(InputError, match="has 10 classes and the data has 3"):
        task.check_model(model.module, SPEC, 3)
    with pytest.raises(InputError, match="cuts off objects"):
        task.check_model(model.module, SPEC.model_copy(update={"fit": "crop"}), 10)
    with pytest.raises(InputError, match="is not a detector"):
        open_task("detection", SPEC).check_model(torch.nn.Identity(), SPEC, 10)


@pytest.mark.parametrize("importance", ["l2", "taylor"])
def test_heads_keep_their_outputs_and_backbone_neck_and_heads_have_ratios_of_their_own(
    importance: str, scenes: Data, model: Model, task: Detection
) -> None:
    step = PruneStep.model_validate(
        {
            "ratios": {"backbone.*": 0.5, "neck.*": 0.25, "heads.*": 0.25},
            "importance": importance,
            "samples": 4,
            "align": 1,
        }
    )
    done = run(model, step, PruneContext(0, scenes.train, task))
    pruned = done.model.module
    for head, before in zip(pruned.heads, model.module.heads, strict=True):
        assert head.cls_logits.out_channels == before.cls_logits.out_channels == 10
        assert head.bbox_reg.out_channels == 4
        assert head.cls_tower[3].out_channels == 12
    assert pruned.backbone.features[16].conv[0][0].out_channels < 0.6 * (
        model.module.backbone.features[16].conv[0][0].out_channels
    )
    with torch.inference_mode():
        outputs = pruned(torch.zeros(1, 3, SIDE, SIDE))
    assert [tuple(part.shape) for part in outputs] == [(1, 189, 10), (1, 189, 4)]
    assert Detection((SIDE, SIDE)).of(pruned).spec == task.spec
