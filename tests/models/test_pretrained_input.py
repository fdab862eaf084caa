"""What torchvision and timm say of their models' inputs, against their own transforms."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import models

from squeeze.core.errors import InputError
from squeeze.data.preprocessing import fit, normalise
from squeeze.models import pretrained_input
from squeeze.models.blocks import build
from squeeze.models.pretrained_input import complete
from squeeze.recipe.schema import InputSpec, ModelBlock


def picture(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def prepared(spec: InputSpec, image: Image.Image) -> np.ndarray[Any, Any]:
    return normalise(fit(image, spec, "x")[None], spec)[0]


def known(build: str, given: InputSpec | None = None, weights: Path | None = None) -> InputSpec:
    spec, _ = complete(given, build, {}, weights)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    "name",
    [
        "resnet50.a1_in1k",  # 224 / 0.95 -> 235, bicubic
        "resnet50.tv_in1k",  # bilinear, 0.875
        "vit_base_patch16_224",  # mean and deviation 0.5
        "tf_efficientnet_b1",  # 240 / 0.882
        "tf_efficientnetv2_s",  # squash: 300 x 300 whatever the proportions were
        "mobilenetv3_small_050",
    ],
)
def test_images_are_prepared_as_timm_does(name: str) -> None:
    spec = known(f"timm:{name}")
    cfg = timm.get_pretrained_cfg(name)
    assert cfg is not None
    reference = create_transform(**resolve_data_config(pretrained_cfg=cfg.to_dict()))
    for size in ((400, 313), (260, 501)):
        image = picture(*size)
        expected = reference(image)
        assert isinstance(expected, torch.Tensor)
        np.testing.assert_allclose(prepared(spec, image), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("mobilenet_v2", models.MobileNet_V2_Weights.DEFAULT),  # 232 -> 224
        ("inception_v3", models.Inception_V3_Weights.DEFAULT),  # 342 -> 299
        ("efficientnet_b1", models.EfficientNet_B1_Weights.DEFAULT),  # 255 -> 240
        ("swin_v2_t", models.Swin_V2_T_Weights.DEFAULT),  # 260 -> 256, bicubic
        ("resnet18", models.ResNet18_Weights.DEFAULT),
    ],
)
def test_images_are_prepared_as_torchvision_does(name: str, weights: Any) -> None:
    spec = known(f"torchvision:{name}")
    for size in ((400, 313), (260, 501)):
        image = picture(*size)
        expected = weights.transforms(antialias=True)(image).numpy()
        np.testing.assert_allclose(prepared(spec, image), expected, atol=1e-5)


def test_every_size_that_torchvision_scales_to_comes_back() -> None:
    found = {}
    for name in models.list_models(module=models):
        for one in models.get_model_weights(name):
            transform = one.transforms()
            (crop,), (resize,) = transform.crop_size, transform.resize_size
            spec = InputSpec(shape=(3, crop, crop), crop_fraction=crop / resize)
            found[crop, resize] = int(spec.shape[1] / spec.crop_fraction + 1e-6)
    assert len(found) > 10
    assert {pair for pair, back in found.items() if pair[1] != back} == set()


def test_what_is_given_counts_and_the_rest_is_told() -> None:
    given = InputSpec(shape=(3, 160, 160), interpolation="nearest")
    spec, told = complete(given, "timm:resnet50.a1_in1k", {}, None)
    assert spec is not None
    assert (spec.shape, spec.interpolation, spec.crop_fraction) == ((3, 160, 160), "nearest", 0.95)
    assert told == (
        "mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), fit crop, crop_fraction 0.95: "
        "taken from timm's pretrained_cfg of resnet50.a1_in1k"
    )
    assert known("timm:resnet50", InputSpec(shape=(3, 288, 288))).crop_fraction == 1.0
    assert known("timm:resnet50", InputSpec(shape=(1, 64, 64))).mean == (0.0,)
    boxes = InputSpec(shape=(3, 64, 64), fit="letterbox")
    assert known("torchvision:resnet18", boxes).fit == "letterbox"
    assert complete(given, "builtin:resnet8", {}, None) == (given, "")


def test_the_weights_that_are_loaded_decide(tmp_path: Path) -> None:
    assert known("torchvision:resnet50").crop_fraction == 224 / 232
    for name in ("resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth"):
        (tmp_path / name).touch()
    older = known("torchvision:resnet50", weights=tmp_path / "resnet50-0676ba61.pth")
    assert older.crop_fraction == 0.875
    spec, _ = complete(None, "torchvision:resnet50", {"weights": "IMAGENET1K_V1"}, None)
    assert spec is not None
    assert spec.crop_fraction == 0.875
    hashed = tmp_path / "renamed.pth"
    hashed.write_bytes(b"weights")
    start = hashlib.sha256(b"weights").hexdigest()[:8]
    enumeration = [SimpleNamespace(url=f"https://x/net-{part}.pth") for part in ("00000000", start)]
    assert pretrained_input._of_file(enumeration, hashed) is enumeration[1]
    folder = tmp_path / "resnet50.tv_in1k"
    folder.mkdir()
    assert known("timm:resnet50", weights=folder / "model.safetensors").interpolation == "bilinear"


def test_detectors_are_fed_as_they_feed_themselves() -> None:
    spec = known("torchvision:ssdlite320_mobilenet_v3_large")
    whole = models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    inside = whole.transform
    assert (spec.shape, spec.fit) == ((3, 320, 320), "stretch")
    assert (spec.mean, spec.std) == (tuple(inside.image_mean), tuple(inside.image_std))
    assert spec.mean == (0.5, 0.5, 0.5)


def test_a_built_model_knows_its_input(tmp_path: Path) -> None:
    model = build(ModelBlock(build="timm:mobilenetv3_small_050"), tmp_path)
    assert model.input.interpolation == "bicubic"
    assert "timm's pretrained_cfg of mobilenetv3_small_050.lamb_in1k" in model.notes[0]
    grey = ModelBlock(build="timm:mobilenetv3_small_050", args={"in_chans": 1, "num_classes": 3})
    assert build(grey, tmp_path).input.shape == (1, 224, 224)
    with pytest.raises(InputError, match="needs 'input'"):
        build(ModelBlock(build="torchvision:retinanet_resnet50_fpn_v2"), tmp_path)
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        build(ModelBlock(build="timm:resnet5O"), tmp_path)


def test_a_folder_of_transformers_tells_how_it_prepares_images(tmp_path: Path) -> None:
    from transformers import DetrImageProcessor

    given = InputSpec(shape=(3, 64, 64), fit="stretch", std=(0.5,))
    assert pretrained_input.complete_saved(given, tmp_path) == (given, "")
    processor = DetrImageProcessor(image_mean=[0.1, 0.2, 0.3], resample=3)
    processor.save_pretrained(tmp_path)
    spec, told = pretrained_input.complete_saved(given, tmp_path)
    assert (spec.mean, spec.std, spec.interpolation) == ((0.1, 0.2, 0.3), (0.5,), "bicubic")
    assert told.endswith("mean (0.1, 0.2, 0.3): taken from its preprocessor_config.json")
    DetrImageProcessor(do_normalize=False).save_pretrained(tmp_path)
    assert pretrained_input.complete_saved(given, tmp_path)[0].mean == (0.0,)
    (tmp_path / "preprocessor_config.json").write_text("[]")
    assert pretrained_input.complete_saved(given, tmp_path) == (given, "")
