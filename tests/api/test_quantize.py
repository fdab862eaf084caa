"""Quantize modules from Python, and go on with the file."""

from pathlib import Path
from typing import Any

import pytest

import squeeze
from squeeze import InputError
from squeeze.api.results import QuantizeResult

pytestmark = pytest.mark.usefixtures("portable_cpu")


@pytest.fixture(scope="module")
def int8(known: Any) -> QuantizeResult:
    return squeeze.quantize(known.model, calibration=known.train, samples=64)


def test_the_file_is_int8_and_about_as_right(int8: QuantizeResult, known: Any) -> None:
    before = squeeze.evaluate(known.model, known.validation)
    after = squeeze.evaluate(int8, known.validation)
    assert after.runtime == "onnxruntime"
    assert after.files == int8.files
    assert (after.predictions[:, 0] == before.predictions[:, 0]).mean() > 0.98
    assert int8.coverage is not None
    assert int8.coverage.int8 == int8.coverage.total == 10
    assert int8.size_bytes == int8.files[0].stat().st_size
    assert int8.to_dict()["coverage"]["total"] == 10
    assert "10 of 10" in int8._repr_html_()
    assert any("weights" in note for note in int8.notes)


def test_files_and_modules_are_timed_together(int8: QuantizeResult, known: Any) -> None:
    found = squeeze.benchmark([known.model, int8], known.example)
    assert [one.name for one in found.models] == ["CifarResNet", "static_int8.onnx"]


def test_the_file_lies_in_the_folder_that_was_given(known: Any, tmp_path: Path) -> None:
    done = squeeze.quantize(
        known.model,
        calibration=(batch for batch, _ in known.train),
        samples=32,
        runtime="litert",
        output=str(tmp_path / "served"),
        name="net",
    )
    assert done.files == (tmp_path / "served" / "net.tflite",)
    assert squeeze.evaluate(done.files[0], known.validation).accuracy.top1.value > 0.9


def test_half_precision_needs_no_data(known: Any) -> None:
    done = squeeze.quantize(known.model, known.example, scheme="fp16")
    assert done.coverage is None
    assert squeeze.evaluate(done, known.validation).accuracy.top1.value > 0.9


def test_a_module_is_trained_with_quantization(known: Any) -> None:
    done = squeeze.quantize(
        known.model,
        calibration=known.train,
        samples=64,
        scheme="qat_int8",
        data=known.train,
        validation=known.validation,
        settings={"epochs": 1},
    )
    assert len(done.epochs) == 1
    found = squeeze.evaluate(done, known.validation)
    assert found.accuracy.top1.value == pytest.approx(done.epochs[0].score, abs=0.01)
    assert done.coverage is not None
    assert done.coverage.int8 == 10
    assert any("of the trained simulation's predictions" in note for note in done.notes)
    with pytest.raises(InputError, match="train: is needed and was not given"):
        squeeze.quantize(
            known.model, calibration=known.train, scheme="qat_int8", settings={"epochs": 1}
        )


def test_settings_are_a_recipes(known: Any) -> None:
    settings = {
        "keep_float": ["conv1"],
        "calibrator": "minmax",
        "recovery": {"rounding": "nearest"},
    }
    done = squeeze.quantize(known.model, calibration=known.train, samples=32, settings=settings)
    assert done.coverage is not None
    assert [node.reason for node in done.coverage.survivors]
    assert done.coverage.int8 == 9


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "calibration: static_int8 needs images and none were given"),
        ({"scheme": "qat_int8"}, "quantize: settings need the key 'epochs'"),
        ({"scheme": "qat_int8", "settings": {"epochs": 1}}, "calibration: qat_int8 needs images"),
        ({"scheme": "bf16"}, "quantize: bf16: "),
        ({"scheme": "int4"}, "unknown scheme 'int4'"),
        ({"scheme": "static_int8_int16"}, "no 16-bit integer kernels"),
        ({"runtime": "pytorch"}, "unknown runtime 'pytorch'"),
        ({"cpu": "z80"}, "cpu: found 'z80', allowed: host"),
        ({"settings": {"calibrator": "mean"}}, "unknown calibrator 'mean'"),
        ({"settings": {"scheme": "fp16"}, "scheme": "fp16"}, "scheme is given twice"),
    ],
)
def test_wrong_use(known: Any, arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        squeeze.quantize(known.model, known.example, **arguments)
    assert what in str(caught.value)
