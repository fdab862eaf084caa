"""Sessions give what torch gives, for any batch, and say plainly what they cannot load."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.core.errors import InputError
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime, pytorch = (
    load_runtime("litert"),
    load_runtime("onnxruntime"),
    load_runtime("pytorch"),
)

RUNTIMES: dict[str, Any] = {"onnx": onnxruntime, "tflite": litert, "bundle": pytorch}


def torch_outputs(model: Model, images: Any) -> Any:
    with torch.inference_mode():
        return model.module(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("kind", ["onnx", "tflite", "bundle"])
@pytest.mark.parametrize("count", [1, 5])
def test_outputs_are_torchs(
    kind: str, count: int, files: dict[str, Path], trained: Model, digits: Data
) -> None:
    images, _ = digits.validation.batch(range(count))
    session = RUNTIMES[kind].open_session(files[kind], Execution(threads=1))
    found = session.invoke(session.prepare(images))
    session.close()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch_outputs(trained, images), atol=1e-4, rtol=1e-4)


def test_a_litert_file_of_batch_three_pads_a_shorter_batch(
    trained: Model, digits: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b3.tflite"
    litert_export.export(trained, path, batch_size=3, log=tmp_path / "log.txt")
    images, _ = digits.validation.batch(range(7))
    session = litert.open_session(path, Execution())
    assert session._input["shape"].tolist() == [3, 12, 12, 1]
    found = session.invoke(session.prepare(images))
    np.testing.assert_allclose(found, torch_outputs(trained, images), atol=1e-4, rtol=1e-4)
    assert capfd.readouterr() == ("", "")


def test_exporters_write_to_the_log_only(
    trained: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx_export.export(trained, tmp_path / "m.onnx", log=tmp_path / "log.txt")
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.txt", "m.onnx"]


def test_the_onnx_file_names_its_ends_and_keeps_the_batch_open(files: dict[str, Path]) -> None:
    import onnx

    graph = onnx.load(files["onnx"]).graph
    assert str(Path(__file__).parents[2]).encode() not in files["onnx"].read_bytes()
    assert [i.name for i in graph.input] == ["images"]
    assert [o.name for o in graph.output] == ["logits"]
    first = graph.input[0].type.tensor_type.shape.dim
    assert first[0].dim_param
    assert [d.dim_value for d in first[1:]] == [1, 12, 12]


@pytest.mark.parametrize(("kind", "name"), [("onnx", "ONNX Runtime"), ("tflite", "LiteRT")])
def test_a_damaged_file_is_told(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(b"nonsense" * 100)
    with pytest.raises(InputError, match=f"{name} cannot load it"):
        RUNTIMES[kind].open_session(path, Execution())


def test_what_cannot_run_here_says_why() -> None:
    assert onnxruntime.unavailable("cuda") == "onnxruntime runs on cpu only here, not on cuda"
    assert litert.unavailable("cpu") is None
    if not torch.cuda.is_available():
        assert pytorch.unavailable("cuda") == "no CUDA device here"


def test_the_pytorch_session_gives_the_thread_count_back(files: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    session = pytorch.open_session(files["bundle"], Execution(threads=1))
    prepared = session.prepare(np.zeros((1, 1, 12, 12), np.float32))
    assert torch.get_num_threads() == 1
    session.invoke(prepared)
    session.close()
    assert torch.get_num_threads() == before


def test_bf16_is_close_to_fp32(files: dict[str, Path], trained: Model, digits: Data) -> None:
    images, _ = digits.validation.batch(range(50))
    session = pytorch.open_session(files["bundle"], Execution(precision="bf16"))
    found = session.invoke(session.prepare(images))
    session.close()
    expected = torch_outputs(trained, images)
    assert not np.array_equal(found, expected)
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.96


def test_float_survivors_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    class Reader:
        left = 2

        def get_next(self) -> dict[str, Any] | None:
            self.left -= 1
            image = np.random.default_rng(self.left + 1).standard_normal((1, 1, 12, 12))
            return {"images": image.astype(np.float32)} if self.left >= 0 else None

    import logging

    import onnx

    logging.getLogger().setLevel(logging.ERROR)
    conv = next(n.name for n in onnx.load(files["onnx"]).graph.node if n.op_type == "Conv")
    quantize_static(
        str(files["onnx"]),
        str(tmp_path / "part.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[conv],
    )
    coverage = onnxruntime.coverage(tmp_path / "part.onnx")
    assert coverage.convolutions == (8, 9)
    assert [node.op for node in coverage.survivors] == ["Conv"]
    assert coverage.survivors[0].reason


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_a_path_that_is_not_utf8_is_told_in_a_sentence(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"na\xffme." + suffix.encode())
    path.write_bytes(b"content")
    with pytest.raises(InputError) as caught:
        RUNTIMES[suffix].open_session(path, Execution())
    told = str(caught.value)
    assert "its path is not UTF-8" in told
    assert "na\\udcffme" in told
