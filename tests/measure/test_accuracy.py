"""Accuracy of files in their own runtimes."""

from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.measure import accuracy
from squeeze.models.types import Model
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.classification import task

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")


def test_a_file_is_measured_on_every_sample(files: dict[str, Path], digits: Data) -> None:
    session = onnxruntime.open_session(files["onnx"], Execution())
    found = accuracy.predict(session, digits.validation, task, 32, Silent(), "evaluating")
    images, labels = digits.validation.batch(range(len(digits.validation)))
    outputs = session.invoke(session.prepare(images))
    assert (found[:, 0] == outputs.argmax(1)).all()
    score = task.score(found, digits.validation)
    assert score.top1.value == accuracy_score(labels, outputs.argmax(1))


@pytest.mark.parametrize(("runtime", "kind"), [(onnxruntime, "onnx"), (litert, "tflite")])
def test_float_files_agree_with_torch(
    runtime: object, kind: str, files: dict[str, Path], trained: Model, digits: Data
) -> None:
    session = runtime.open_session(files[kind], Execution())  # type: ignore[attr-defined]
    found = accuracy.parity(trained, session, digits.validation, 5, task)
    assert (found.samples, found.same_class) == (16, 1.0)
    assert found.max_difference < 1e-4 * found.scale
