"""Mixed precision: the layer that is known to be bad is found, and it alone stays float."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.keep_float import layers
from squeeze.quantization.mixed_precision.search import search
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.quantization.mixed_precision.trial_store import StoredStart, TrialStore
from squeeze.quantization.mixed_precision.units import units
from squeeze.quantization.recovery import graph as graphs
from squeeze.quantization.recovery import recover
from squeeze.quantization.request import QuantizedFile, Request
from squeeze.recipe.schema import QuantizeStep, RecoverySettings, Target
from squeeze.results import MixedPrecisionSearch
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.classification import task

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

RUNTIMES: dict[str, tuple[Any, Any]] = {
    "onnx": (onnxruntime, onnx_backend),
    "tflite": (litert, litert_backend),
}
BAD = "stages.1.0.conv2"
NOTHING = {"equalize": False, "bias_correction": False, "rounding": "nearest"}


@pytest.fixture(scope="module")
def spoilt(trained: Model) -> Model:
    """The trained model with weights that 8 bits cannot hold in one layer.

    Its first input channel is always 0; weights of 1000 on it change nothing in float, and leave no
    integers to the other weights.
    """
    model = replace(trained, module=copy.deepcopy(trained.module))
    block: Any = model.module.get_submodule("stages.1.0")
    with torch.no_grad():
        block.bn1.weight[0], block.bn1.bias[0] = 0.0, -1.0
        block.conv2.weight[:, 0] = 1000 * block.conv2.weight.abs().mean()
    return model


@pytest.fixture(scope="module")
def spoilt_files(spoilt: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from squeeze.runtimes.litert import export as to_litert
    from squeeze.runtimes.onnxruntime import export as to_onnx

    folder = tmp_path_factory.mktemp("spoilt")
    paths = {kind: folder / f"float.{kind}" for kind in RUNTIMES}
    to_onnx.export(spoilt, paths["onnx"])
    to_litert.export(spoilt, paths["tflite"])
    return paths


def choice(digits: Data, **step: Any) -> FloatLayers:
    settings = QuantizeStep.model_validate({"recovery": NOTHING, **step})
    return FloatLayers(settings, "steps.0", digits.calibration, digits.train, task, 0)


def quantized(
    chosen: FloatLayers,
    kind: str,
    model: Model,
    files: dict[str, Path],
    out: Path,
    store: TrialStore | None = None,
) -> tuple[MixedPrecisionSearch, QuantizedFile]:
    assert chosen.calibration is not None
    request = Request(
        files[kind],
        out,
        chosen.step,
        chosen.calibration,
        Silent(),
        None,
        keep_float=chosen.keep_float(model, model, 1),
    )
    runtime, backend = RUNTIMES[kind]
    name = runtime.name
    done = chosen.quantize(backend.quantize, request, Target(runtime=name), 1, store)
    assert done.search is not None
    return done.search, done


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_one_bad_layer_is_found_and_kept(
    kind: str, spoilt: Model, spoilt_files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    chosen = choice(digits, mixed_precision={"metric": "agreement", "max_drop": 0.03})
    out = tmp_path / f"mixed.{kind}"
    search, done = quantized(chosen, kind, spoilt, spoilt_files, out)
    assert search.met
    assert done.missed_goal is None
    assert (search.ranking[0].layer, len(search.ranking)) == (BAD, 13)
    assert search.ranking[0].sqnr_db < 10 < search.ranking[1].sqnr_db
    plain, best = search.trials
    assert (plain.layers, plain.chosen, plain.int8) == ((), False, 10)
    assert (best.layers, best.chosen, best.int8, best.total) == ((BAD,), True, 9, 10)
    assert plain.drop > 5 * 0.03
    assert best.drop <= 0.03
    assert search.source == "training images that calibrate nothing"

    runtime = RUNTIMES[kind][0]
    (left,) = runtime.coverage(out).survivors
    assert done.facts.kept[left.name] == "kept in float by mixed_precision"
    images, _ = digits.validation.batch(range(len(digits.validation)))
    found = []
    for path in (spoilt_files[kind], out):
        session = runtime.open_session(path, Execution())
        found.append(session.invoke(session.prepare(images)).argmax(1))
        session.close()
    assert (found[0] == found[1]).mean() > 0.97


class _KilledError(Exception):
    """Stands for the end of a process."""


def _counting(quantize: Any, made: list[Path], *, until: int) -> Any:
    """Return a backend's function that is killed before it makes one file more than ``until``."""

    def counted(request: Request) -> QuantizedFile:
        if len(made) == until:
            raise _KilledError
        made.append(request.destination)
        done: QuantizedFile = quantize(request)
        return done

    return counted


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_search_that_was_killed_goes_on_and_makes_no_trial_twice(
    kind: str,
    spoilt: Model,
    spoilt_files: dict[str, Path],
    digits: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = {"metric": "agreement", "max_drop": 0.03, "samples": 64}
    chosen, backend = choice(digits, mixed_precision=block), RUNTIMES[kind][1]
    suffix, quantize = f".{kind}", backend.quantize
    whole, first, second = list[Path](), list[Path](), list[Path]()
    monkeypatch.setattr(backend, "quantize", _counting(quantize, whole, until=-1))
    undisturbed, _ = quantized(chosen, kind, spoilt, spoilt_files, tmp_path / f"a{suffix}")
    store = TrialStore(tmp_path / "trials", "key", suffix, pytest.fail)
    out = tmp_path / f"b{suffix}"
    monkeypatch.setattr(backend, "quantize", _counting(quantize, first, until=6))
    with pytest.raises(_KilledError):
        quantized(chosen, kind, spoilt, spoilt_files, out, store)
    monkeypatch.setattr(backend, "quantize", _counting(quantize, second, until=-1))
    search, done = quantized(chosen, kind, spoilt, spoilt_files, out, store)
    assert (len(first), len(first) + len(second)) == (6, len(whole))
    assert search.ranking == undisturbed.ranking
    assert [(t.layers, t.drop, t.int8) for t in search.trials] == [
        (t.layers, t.drop, t.int8) for t in undisturbed.trials
    ]
    assert out.read_bytes() == (tmp_path / f"a{suffix}").read_bytes()
    assert "kept in float by mixed_precision" in done.facts.kept.values()
    monkeypatch.setattr(backend, "quantize", _counting(quantize, [], until=0))
    again, _ = quantized(chosen, kind, spoilt, spoilt_files, out, store)  # all is there
    assert [t.drop for t in again.trials] == [t.drop for t in undisturbed.trials]


def test_a_damaged_trial_is_made_again_and_named(
    spoilt: Model, spoilt_files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    warnings: list[str] = []
    store = TrialStore(tmp_path / "trials", "key", ".onnx", warnings.append)
    chosen = choice(digits, mixed_precision={"metric": "agreement", "max_drop": 0.03})
    search, _ = quantized(chosen, "onnx", spoilt, spoilt_files, tmp_path / "a.onnx", store)
    store.path((BAD,)).write_bytes(b"no file")
    again, _ = quantized(chosen, "onnx", spoilt, spoilt_files, tmp_path / "b.onnx", store)
    (warning,) = warnings
    assert f"{store.path((BAD,)).name} is damaged or was changed" in warning
    assert warning.endswith("so this trial is run again")
    assert [t.drop for t in again.trials] == [t.drop for t in search.trials]
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()


def test_what_the_user_keeps_is_not_searched(
    spoilt: Model, spoilt_files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    chosen = choice(digits, keep_float=[BAD], mixed_precision={"max_drop": 0.03, "samples": 64})
    search, done = quantized(chosen, "onnx", spoilt, spoilt_files, tmp_path / "mixed.onnx")
    assert search.met
    assert [trial.layers for trial in search.trials] == [()]
    assert (search.trials[0].int8, search.ranking, search.samples) == (9, (), 64)
    assert set(done.facts.kept.values()) == {f"kept in float by keep_float '{BAD}'"}


def test_a_limit_out_of_reach_ships_the_best_and_says_so(
    spoilt: Model, spoilt_files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    assert digits.calibration is not None
    block = {"metric": "agreement", "max_drop": 0.0, "max_layers": 1}
    settings = QuantizeStep.model_validate({"recovery": NOTHING, "mixed_precision": block})
    chosen = FloatLayers(settings, "steps.0", digits.calibration, None, cast("Any", _Strict()), 0)
    search, done = quantized(chosen, "onnx", spoilt, spoilt_files, tmp_path / "mixed.onnx")
    assert not search.met
    assert search.trials[-1].layers == (BAD,)
    assert search.source.startswith("calibration images, which also set the ranges")
    assert done.missed_goal is not None
    assert done.missed_goal.aim == "mixed_precision on onnxruntime"
    assert done.missed_goal.found.endswith("points with layers in float: 1")
    assert (tmp_path / "mixed.onnx").exists()


class _Strict:
    """Finds one image in a hundred more that differs than there are, whatever stays float."""

    METRIC, DECODES = "top-1", False
    predictions = staticmethod(task.predictions)

    @staticmethod
    def agreement(before: Any, after: Any) -> float:
        return task.agreement(before, after) - 0.01


def test_units_are_layers_with_what_is_fused_into_them(trained: Model, digits: Data) -> None:
    images, _ = digits.validation.batch([0])
    operations = layers.operations(graphs.folded(trained.module), images)
    found = {unit.name: unit for unit in units(operations, {"a": frozenset({operations[1].name})})}
    assert set(found) == {"conv1"}  # a file that computes nothing else
    everything = {each.name: frozenset({each.name}) for each in operations}
    found = {unit.name: unit for unit in units(operations, everything)}
    assert found["conv1"].operations == {"conv1", "relu"}
    assert found["stages.1.0.conv2"].operations == {"stages_1_0_conv2"}  # a sum reads two
    assert found["stages.1.0 (add)"].operations == {"add_1", "relu_4"}
    assert sum(len(unit.operations) for unit in found.values()) == len(operations) - 1


LOSSES = {"a": 0.3, "b": 0.2, "c": 0.05, "d": 0.04, "e": 0.0, "f": 0.0}


def loss(kept: tuple[str, ...]) -> float:
    """Add up what every layer loses that is not float."""
    return sum(value for name, value in LOSSES.items() if name not in kept)


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [(0.6, ""), (0.3, "a"), (0.1, "ab"), (0.05, "abc"), (0.045, "abc"), (0.01, "abcd")],
)
def test_the_fewest_layers_that_suffice_are_found(limit: float, chosen: str) -> None:
    found = search("abcdef", loss, max_drop=limit)
    assert (found.chosen, found.met) == (tuple(chosen), True)
    assert math.isclose(found.drops[found.chosen], loss(tuple(chosen)))


def test_layers_that_are_not_needed_are_taken_back() -> None:
    found = search("ecabdf", loss, max_drop=0.1)
    assert (found.chosen, found.met) == (("a", "b"), True)


def test_without_a_mixture_that_holds_the_limit_the_best_one_is_chosen() -> None:
    found = search("abcdef", loss, max_drop=0.01, max_layers=2)
    assert (found.chosen, found.met) == (("a", "b"), False)
    assert list(found.drops) == [(), ("a",), ("a", "b")]
    assert search("abcdef", lambda _: 0.5, max_drop=0.1).chosen == ()


def test_what_a_search_starts_from_is_restored_without_recovering_it_again(
    trained: Model, digits: Data, tmp_path: Path
) -> None:
    assert digits.calibration is not None
    source = tmp_path / "float.onnx"
    source.write_bytes(b"a float file")
    found = recover.recover(trained, RecoverySettings(), digits.calibration, Silent(), bits=8)
    tensors = recover.tensors_of(found.model, trained)
    warnings: list[str] = []
    store = TrialStore(tmp_path / "trials", "key", ".onnx", warnings.append)
    assert store.start() is None
    store.keep_start(StoredStart(source, tensors, found.notes))
    start = store.start()
    assert start is not None
    assert (start.file.read_bytes(), start.notes) == (b"a float file", found.notes)
    restored = recover.restored(trained, start.tensors)
    images, _ = digits.validation.batch(range(8))
    expected, outputs = (
        model.module(torch.from_numpy(images)) for model in (found.model, restored)
    )
    assert torch.equal(outputs, expected)
    assert not torch.equal(outputs, trained.module(torch.from_numpy(images)))
    assert recover.tensors_of(trained, trained) == {}
    assert recover.restored(trained, {}) is trained
    assert TrialStore(tmp_path / "trials", "another", ".onnx", pytest.fail).start() is None
    start.file.write_bytes(b"another file")
    assert store.start() is None
    assert warnings == [
        f"{store.folder}: start.onnx is damaged or was changed: its SHA-256 is not the recorded "
        "one, so the float file is made again"
    ]
