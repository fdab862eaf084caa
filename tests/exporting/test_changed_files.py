"""Exported files that are damaged or were changed since."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from squeeze.api.served import exported, served
from squeeze.core.errors import InputError
from squeeze.exporting import file
from squeeze.models.blocks import build
from squeeze.recipe.schema import ModelBlock

BLOCK = ModelBlock.model_validate(
    {
        "build": "builtin:resnet8",
        "args": {"in_channels": 1},
        "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35]},
    }
)


@pytest.fixture
def described(files: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "x.onnx"
    shutil.copyfile(files["onnx"], path)
    file.describe(path, build(BLOCK, Path()), 1)
    return path


def test_the_description_has_the_files_sha256(described: Path) -> None:
    record = json.loads(described.with_name("x.onnx.json").read_text())
    assert record["sha256"] == hashlib.sha256(described.read_bytes()).hexdigest()
    assert served(described).spec.shape == (1, 12, 12)


def test_a_changed_file_is_refused_wherever_it_is_read(described: Path) -> None:
    content = bytearray(described.read_bytes())
    content[3] ^= 1
    described.write_bytes(content)
    for read in (served, exported):
        with pytest.raises(InputError, match="is damaged or was changed") as raised:
            read(described)
        assert raised.value.where == str(described)


def test_files_of_others_pass(described: Path) -> None:
    described.write_bytes(b"another file")
    record = described.with_name("x.onnx.json")
    plain = json.loads(record.read_text())
    del plain["sha256"]
    for text in (json.dumps(plain), "{", "[]"):
        record.write_text(text)
        file.refuse_changed(described)
    record.unlink()
    file.refuse_changed(described)
