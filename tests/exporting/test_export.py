"""Exported files: the same outputs as torch, described, quiet."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import load
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.data.sets import Data
from squeeze.exporting import file
from squeeze.models.types import Architecture, Model
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.onnxruntime import graphs
from squeeze.runtimes.runtime import load as load_runtime

litert_runtime, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")


def tiny() -> Model:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 10, 4)
    )
    return Model(module.eval(), Architecture("test:tiny", Path(), {}, InputSpec(shape=(3, 8, 10))))


def expected(model: Model, images: Any) -> Any:
    with torch.inference_mode():
        return model.module(torch.from_numpy(images)).numpy()


def random(count: int) -> Any:
    return np.random.default_rng(1).standard_normal((count, 3, 8, 10), dtype=np.float32)


def test_a_litert_file_is_channel_last_and_bound_to_its_batch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, path, log = tiny(), tmp_path / "tiny.tflite", tmp_path / "log.txt"
    litert.export(model, path, batch_size=3, log=log)
    session = litert_runtime.open_session(path, Execution())
    found = session.invoke(session.prepare(random(7)))  # 3 + 3 + 1, the last one padded
    session.close()
    assert capfd.readouterr() == ("", "")
    assert "XNNPACK" not in log.read_text(encoding="utf-8")
    assert found.shape == (7, 4)
    assert np.allclose(found, expected(model, random(7)), atol=1e-5)
    shape = Interpreter(str(path)).get_input_details()[0]["shape"]
    assert shape.tolist() == [3, 8, 10, 3]


def test_an_export_says_how_to_feed_it(files: dict[str, Path], trained: Model) -> None:
    folder = files["onnx"].parent / "written"
    for runtime, batch_size, layout, batch in ((onnxruntime, 4, "NCHW", "dynamic"),):
        path = file.write("state", trained, runtime, batch_size, folder, None)
        stamp = path.stat().st_mtime_ns
        assert file.write("state", trained, runtime, batch_size, folder, None) == path
        assert path.stat().st_mtime_ns == stamp  # not exported twice
        found = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        assert (found["layout"], found["batch"]) == (layout, batch)
        assert InputSpec.model_validate(found["input"]) == trained.input
    described = file.describe(folder / "x.b4.tflite", trained, 4)
    found = json.loads(described.read_text(encoding="utf-8"))
    assert (found["layout"], found["batch"]) == ("NHWC", 4)
    assert file.name_of("s", litert_runtime.spec, 4) == "s.b4.tflite"
    assert file.name_of("s", litert_runtime.spec, 1) == "s.tflite"
    assert file.name_of("s", onnxruntime.spec, 4) == "s.onnx"


def test_a_file_of_another_model_is_found_out(
    files: dict[str, Path], trained: Model, digits: Data
) -> None:
    assert digits.validation.spec == trained.input
    assert file.difference(onnxruntime, files["onnx"], trained, 2) < 1e-3
    other = Model(type(trained.module)(1, 10, 1, "projection").eval(), trained.architecture)
    with pytest.raises(SqueezeError, match="its outputs differ from torch by up to"):
        file.difference(onnxruntime, files["onnx"], other, 2)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if float(x.sum()) > 0:  # decided by the data: no graph can hold it
            return x.flatten(1)
        return -x.flatten(1)


@pytest.mark.parametrize(("exporter", "kind"), [(onnx, "ONNX"), (litert, "LiteRT")])
def test_what_cannot_be_exported_is_told_in_one_line(
    exporter: ModuleType, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = InputSpec(shape=(1, 4, 4))
    model = Model(Branching(), Architecture("test:branching", Path(), {}, spec))
    log = tmp_path / "log.txt"
    with pytest.raises(SqueezeError, match=f"test:branching: the {kind} .*failed: ") as caught:
        exporter.export(model, tmp_path / "x.bin", log=log)
    assert "\n" not in caught.value.what
    assert capfd.readouterr() == ("", "")
    assert [p.name for p in tmp_path.iterdir()] == ["log.txt"]


class Conditional(nn.Module):
    """Runs one of two layers, in branches of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.yes, self.no = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, 4)``."""
        pooled = x.mean((2, 3))
        pooled = torch.cat([pooled, pooled[:, :1]], 1)
        choice = pooled.sum() > 0
        found: torch.Tensor = torch.cond(choice, self.yes, self.no, (pooled,))
        return found


def test_nothing_of_its_origin_is_left_in_branches(tmp_path: Path) -> None:
    """The exporter notes stack traces, with paths of the machine, on every node."""
    torch.manual_seed(0)
    architecture = Architecture("test:conditional", Path(), {}, InputSpec(shape=(3, 8, 10)))
    path = tmp_path / "branches.onnx"
    onnx.export(Model(Conditional().eval(), architecture), path)
    graph = load(path).graph
    every = list(graphs.nodes(graph))
    assert "If" in {node.op_type for node in graph.node}
    assert len(every) > len(graph.node)
    assert not any(node.metadata_props or node.doc_string for node in every)
    assert str(Path(__file__).parent).encode() not in path.read_bytes()
