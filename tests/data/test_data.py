"""Every data format, and what makes data unusable."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.recipe.schema import DataBlock, InputSpec

SPEC = InputSpec(shape=(1, 8, 8), crop_fraction=1.0)


def opened(
    block: dict[str, Any],
    folder: Path = Path(),
    *,
    spec: InputSpec = SPEC,
    trains: bool = True,
    seed: int = 0,
) -> Data:
    return open_data(
        DataBlock.model_validate(block),
        Opening(folder, spec, seed, Silent()),
        trains=trains,
        calibrates=True,
    )


def refusal(block: dict[str, Any], folder: Path = Path(), **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(block, folder, **kwargs)
    return str(caught.value)


def write_idx(folder: Path, prefix: str, images: Any, labels: Any) -> None:
    head = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
    with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.tobytes())


def test_digits_are_split_without_overlap_and_unscaled() -> None:
    from sklearn.datasets import load_digits

    data = opened({"train": "builtin:digits", "validation": "builtin:digits"})
    assert data.train is not None
    assert (len(data.train), len(data.validation), len(data.classes)) == (1257, 540, 10)
    assert not set(data.train.digests) & set(data.validation.digests)
    images, labels = data.validation.batch([0, 1])
    originals = load_digits()
    step = 16 / 255  # bytes are rounded
    same = [np.abs(images[0, 0] * 16 - scan).max() <= step / 2 + 1e-6 for scan in originals.images]
    assert originals.target[same].tolist() == [labels[0]]


def test_idx_files_plain_and_gzipped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    write_idx(tmp_path, "train", images, labels)
    write_idx(tmp_path, "t10k", images[::-1] // 2, labels)
    data = opened({"train": f"idx:{tmp_path}", "validation": f"idx:{tmp_path}"})
    assert data.train is not None
    batch, found = data.train.batch(range(6))
    assert np.allclose(batch[:, 0] * 255, images)
    assert found.tolist() == labels.tolist()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03 short")
    assert "is not an idx file" in refusal(
        {"train": f"idx:{tmp_path}", "validation": f"idx:{tmp_path}"}
    )


def test_an_image_folder_sorts_its_classes(picture_folder: Path) -> None:
    data = opened({"validation": str(picture_folder)}, spec=InputSpec(shape=(3, 16, 16)))
    assert list(data.classes) == ["ant", "bee", "cat"]
    assert data.validation.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_torchvision_dataset_without_download(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 20), ("t10k", 10)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder, prefix, images, labels)
        packed = folder / f"{prefix}-labels-idx1-ubyte.gz"
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    block = {
        "train": f"torchvision:FashionMNIST:{tmp_path}",
        "validation": f"torchvision:FashionMNIST:{tmp_path}",
    }
    data = opened(block, spec=InputSpec(shape=(1, 28, 28), crop_fraction=1.0))
    assert data.train is not None
    assert (len(data.train), len(data.validation)) == (20, 10)
    assert data.classes[0] == "T-shirt/top"
    assert "squeeze downloads nothing" in refusal({"validation": "torchvision:CIFAR10:/nowhere"})
    assert "did you mean 'CIFAR10'" in refusal({"validation": "torchvision:CIFAR11:."})


def test_a_function_may_return_any_kind_of_image(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np, torch\n"
        "from PIL import Image\n"
        "pixels = [np.full((8, 8), 10 * i, np.uint8) for i in range(4)]\n"
        "kinds = {'array': lambda a: a, 'pil': Image.fromarray,\n"
        "         'bytes': lambda a: torch.from_numpy(a)[None],\n"
        "         'float': lambda a: torch.from_numpy(a)[None] / 255}\n"
        "def make(kind):\n"
        "    return [(kinds[kind](p), i % 2) for i, p in enumerate(pixels)]\n"
        "def split_aware(split):\n"
        "    return [(p + (split == 'train'), i % 2) for i, p in enumerate(pixels)]\n"
        "def one_class(): return [(p, 0) for p in pixels]\n"
        "def empty(): return []\n"
        "def no_pairs(): return pixels\n"
        "def number(): return 3\n"
        "def fails(): raise ValueError('no')\n"
        "def wide(): return [(np.zeros((1, 9, 9), np.float32), i % 2) for i in range(4)]\n"
        "def negative(): return [(p, i - 1) for i, p in enumerate(pixels)]\n"
    )
    expected = np.arange(4)[:, None, None, None] * np.ones((1, 1, 8, 8)) * 10 / 255
    for kind in ("array", "pil", "bytes", "float"):
        source = {"format": "function", "build": "./data.py:make", "args": {"kind": kind}}
        images, _ = opened({"validation": source}, tmp_path).validation.batch(range(4))
        assert np.allclose(images, expected), kind
    aware = {"train": "./data.py:split_aware", "validation": "./data.py:split_aware"}
    data = opened(aware, tmp_path)
    assert data.train is not None
    assert data.train.batch([0])[0].max() > data.validation.batch([0])[0].max()
    for name, text in (
        ("one_class", "has one class only ('0')"),
        ("empty", "data.validation: is empty"),
        ("no_pairs", "expected (image, class index)"),
        ("number", "returned a int, expected a map-style dataset"),
        ("fails", "failed: ValueError: no"),
        ("negative", "has labels -1 to 2"),
    ):
        assert text in refusal({"validation": f"./data.py:{name}"}, tmp_path), name
    wide = opened({"validation": "./data.py:wide"}, tmp_path)
    with pytest.raises(InputError, match="the model takes"):
        wide.validation.batch([0])


def test_empty_and_odd_folders(tmp_path: Path, picture_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no sub-folders" in refusal({"validation": "empty"}, tmp_path)
    (tmp_path / "empty" / "a").mkdir()
    assert "no images in them" in refusal({"validation": "empty"}, tmp_path)
    for name in ("bee", "cat"):
        for file in (picture_folder / name).iterdir():
            file.unlink()
    assert "has one class only ('ant')" in refusal({"validation": str(picture_folder)})


def test_corrupt_images_are_named_counted_and_refused_or_skipped(picture_folder: Path) -> None:
    bad = picture_folder / "bee" / "2.png"
    bad.write_bytes(bad.read_bytes()[:200])
    (picture_folder / "cat" / "0.jpg").write_text("no image")
    spec = InputSpec(shape=(3, 16, 16))
    text = refusal({"validation": str(picture_folder)}, spec=spec)
    assert text.startswith("data.validation: 2 of 13 images cannot be read: ")
    assert str(bad) in text
    skip = {"format": "image_folder", "path": str(picture_folder), "on_corrupt": "skip"}
    data = opened({"validation": skip}, spec=spec)
    assert len(data.validation) == 11
    assert data.validation.notes[0].startswith("data.validation: skipped, 2 of 13")


def test_overlap_is_found_by_content_even_under_other_names(
    picture_folder: Path, tmp_path: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(picture_folder, other)
    for file in (*other.glob("*/1.png"), *other.glob("*/2.png"), *other.glob("*/3.png")):
        file.write_bytes(file.read_bytes() + b"\0")
    (other / "ant" / "0.png").rename(other / "ant" / "renamed.png")
    block = {"train": str(other), "validation": str(picture_folder)}
    spec = InputSpec(shape=(3, 16, 16))
    text = refusal(block, spec=spec)
    assert text.startswith("data.train: 3 samples are also in data.validation (same content): ")
    assert "renamed.png" in text
    data = opened(block | {"on_overlap": "drop_from_train"}, spec=spec)
    assert data.train is not None
    assert len(data.train) == 9
    assert data.train.notes == ("data.train: 3 samples that are also in validation were dropped",)
    text = refusal({"validation": str(picture_folder), "calibration": str(other)}, spec=spec)
    assert text.startswith("data.calibration: 3 samples are also in data.validation")


def test_calibration_is_drawn_by_seed_and_taken_out_of_validation() -> None:
    block = {
        "validation": "builtin:digits",
        "calibration": {"from": "validation", "samples": 40},
    }
    first, again, other = (opened(block, seed=seed) for seed in (0, 0, 1))
    assert first.calibration is not None
    assert again.calibration is not None
    assert other.calibration is not None
    assert (len(first.calibration), len(first.validation)) == (40, 500)
    assert not set(first.calibration.digests) & set(first.validation.digests)
    assert first.calibration.fingerprint == again.calibration.fingerprint
    assert first.calibration.fingerprint != other.calibration.fingerprint
    too_many = block | {"calibration": {"from": "validation", "samples": 540}}
    assert "asks for 540 samples, data.validation has 540" in refusal(too_many)


def test_classes_must_agree(picture_folder: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(picture_folder, other)
    (other / "cat").rename(other / "dog")
    text = refusal(
        {"train": str(other), "validation": str(picture_folder)}, spec=InputSpec(shape=(3, 16, 16))
    )
    assert "not in both: cat, dog" in text


def test_batches_cover_everything_in_order() -> None:
    split = opened({"validation": "builtin:digits"}).validation
    batches = list(split.batches(100))
    assert [len(labels) for _, labels in batches] == [100] * 5 + [40]
    assert np.concatenate([labels for _, labels in batches]).tolist() == split.labels.tolist()


def test_a_crop_that_was_left_out_is_settled_by_the_validation_images() -> None:
    block = {"validation": "builtin:digits", "train": "builtin:digits"}
    same = opened(block, spec=InputSpec(shape=(1, 8, 8)))
    assert same.train is not None
    assert (same.validation.spec.crop_fraction, same.train.spec.crop_fraction) == (1.0, 1.0)
    assert (same.validation.image(0) == same.validation.original(0)).all()
    larger = opened(block, spec=InputSpec(shape=(1, 24, 24)))
    assert larger.validation.spec.crop_fraction == 0.875
