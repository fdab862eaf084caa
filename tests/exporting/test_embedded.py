"""What a file says about itself from the inside, and that runtimes do not notice."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from squeeze.data.sets import Data
from squeeze.exporting import embedded, file
from squeeze.models.types import Architecture, Model
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)
KINDS = ("onnx", "int8.onnx", "tflite", "int8.tflite")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_goes_in_and_changes_no_output(
    kind: str, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    path = Path(shutil.copy(files[kind], tmp_path))
    runtime = onnxruntime if kind.endswith("onnx") else litert
    images, _ = digits.validation.batch(range(4))

    def outputs() -> np.ndarray:  # type: ignore[type-arg]
        session = runtime.open_session(path, Execution())
        found = session.invoke(session.prepare(images))
        session.close()
        assert isinstance(found, np.ndarray)
        return found

    before, coverage = outputs(), runtime.coverage(path)
    assert embedded.read(path) is None
    embedded.embed_(path, {"x": [1.5, "é"]})
    embedded.embed_(path, {"x": [2.5, "ü"]})  # takes the place of the first
    assert embedded.read(path) == {"x": [2.5, "ü"]}
    assert (outputs() == before).all()
    assert runtime.coverage(path) == coverage
    assert path.stat().st_size < files[kind].stat().st_size + 1000


def test_weights_that_lie_behind_the_graph_stay(digits: Data, tmp_path: Path) -> None:
    """The quantizer puts them there where they are more than 256 KiB."""
    from ai_edge_quantizer import quantizer, recipe

    wide = nn.Sequential(nn.Flatten(), nn.Linear(144, 2048), nn.ReLU(), nn.Linear(2048, 10)).eval()
    source, path = tmp_path / "float.tflite", tmp_path / "int8.tflite"
    litert.export(Model(wide, Architecture("./x.py:make", None, {}, SPEC)), source)
    worker = quantizer.Quantizer(str(source))
    worker.load_quantization_recipe(recipe.weight_only_wi8_afp32())
    worker.quantize().export_model(str(path))
    model = schema.Model.GetRootAs(path.read_bytes())
    assert any(model.Buffers(number).Offset() > 1 for number in range(model.BuffersLength()))
    images, _ = digits.validation.batch(range(4))
    found, sizes = [], []
    for record in (None, {"x": 1}, {"x": 2}):
        if record is not None:
            embedded.embed_(path, record)
        session = litert.open_session(path, Execution())
        found.append(session.invoke(session.prepare(images)))
        session.close()
        sizes.append(path.stat().st_size)
    assert embedded.read(path) == {"x": 2}
    assert all(np.array_equal(each, found[0]) for each in found)
    assert max(sizes) - min(sizes) < 1000


def test_other_metadata_of_a_litert_file_stays(files: dict[str, Path], tmp_path: Path) -> None:
    def entries(path: Path) -> dict[bytes, bytes]:
        model = schema.Model.GetRootAs(path.read_bytes())
        found = [model.Metadata(number) for number in range(model.MetadataLength())]
        return {e.Name(): bytes(model.Buffers(e.Buffer()).DataAsNumpy()) for e in found}

    path = Path(shutil.copy(files["tflite"], tmp_path))
    before = entries(path)
    embedded.embed_(path, {"x": 1})
    assert before
    assert entries(path) == before | {b"squeeze": b'{"x": 1}'}


def test_other_metadata_of_an_onnx_file_stays(files: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(files["onnx"], tmp_path))
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="someone")
    onnx.save(model, path)
    embedded.embed_(path, {"x": 1})
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert found == {"author": "someone", "squeeze": '{"x": 1}'}
    assert onnx.load(path).graph == onnx.load(files["onnx"]).graph


def test_what_is_beside_an_exported_file_is_inside_it(trained: Model, tmp_path: Path) -> None:
    path = file.write("state", trained, onnxruntime, 1, tmp_path, None)
    beside = json.loads(path.with_name("state.onnx.json").read_text())
    assert beside.pop("file") == "state.onnx"
    assert beside.pop("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert embedded.read(path) == beside
    assert beside["input"] == trained.input.model_dump(mode="json")


@pytest.mark.parametrize("name", ["x.onnx", "x.tflite"])
def test_nothing_is_read_from_what_is_no_such_file(name: str, tmp_path: Path) -> None:
    for content in (b"", b"nonsense", b"\0" * 64, b"\x14\0\0\0TFL3" + b"\xff" * 64):
        (tmp_path / name).write_bytes(content)
        assert embedded.read(tmp_path / name) is None
