"""The second run reuses what the first one left, says so, and does again what is not as it was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import squeeze
from squeeze.core.types import Advance
from squeeze.measure import latency
from squeeze.models.types import Model
from squeeze.pipeline import fingerprints
from squeeze.quantization.backends.onnxruntime import quantize as backend
from squeeze.quantization.recovery import recover
from squeeze.quantization.recovery.recover import Recovered
from squeeze.quantization.request import QuantizedFile, Request
from squeeze.recipe.load import from_data
from squeeze.results import Results, Row
from squeeze.runtimes.onnxruntime import export as exporter
from squeeze.store import RunFolder, checksums

pytestmark = pytest.mark.usefixtures("portable_cpu")

RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "model": {
        "build": "builtin:resnet8",
        "args": {"num_classes": 10, "in_channels": 1},
        "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35], "crop_fraction": 1.0},
    },
    "data": {
        "train": "builtin:digits",
        "validation": "builtin:digits",
        "calibration": {"from": "train", "samples": 32},
    },
    "baseline": {"train": {"epochs": 1, "lr": 0.1}},
    "steps": [{"method": "quantize"}],
    "targets": [{"runtime": "onnxruntime"}, {"runtime": "pytorch", "precision": "fp32"}],
    "gates": [{"metric": "size", "target": "onnxruntime", "min_reduction": 2}],
}
FILES = {"artifacts/baseline.onnx", "artifacts/1-quantize.onnx"}
STEPS = [
    "baseline",
    "export of baseline.onnx",
    "quantizing of 1-quantize.onnx",
    "measurement of onnxruntime, batch 1",
    "measurement of pytorch, batch 1",
]


class Heard:
    """A ``Progress`` that remembers what it was given."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        del total
        self.tasks.append(description)

        def advance(steps: int = 1, *, note: str = "") -> None:
            del steps, note

        yield advance

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @property
    def reused(self) -> list[str]:
        """The steps that were reused, in order."""
        return [
            line.partition(": reused from run ")[0] for line in self.lines if ": reused" in line
        ]

    @property
    def worked(self) -> set[str]:
        """What took work besides reading the data."""
        return {task for task in self.tasks if not task.startswith("reading ")}


@pytest.fixture(scope="module", autouse=True)
def _few_rounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "_MAX_ROUNDS", 15)
        yield


def run(data: dict[str, Any], output: Path, **flags: bool) -> tuple[Results, RunFolder, Heard]:
    heard = Heard()
    results, folder = squeeze.run(
        from_data(data, output.parent), output=output, progress=heard, **flags
    )
    return results, folder, heard


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, portable_cpu: None) -> Results:
    """The record of a first run, whose folder is ``home``'s."""
    del portable_cpu
    results, folder, heard = run(RECIPE, tmp_path_factory.mktemp("first") / "runs")
    assert heard.reused == []
    _HOME.append(folder.path.parents[1])
    return results


_HOME: list[Path] = []


@pytest.fixture
def home(finished: Results, tmp_path: Path) -> Path:
    """A copy of the first run's output folder."""
    del finished
    return Path(shutil.copytree(_HOME[0], tmp_path / "runs"))


def figures(rows: tuple[Row, ...]) -> list[Row]:
    """Return rows without saying where they come from."""
    return [row.model_copy(update={"provenance": None}) for row in rows]


def sources(results: Results) -> list[str | None]:
    """Return from which run the figures of every measured row are."""
    return [row.provenance.reused_from for row in results.rows if row.provenance is not None]


def test_the_second_equal_run_reuses_everything_and_says_so(finished: Results, home: Path) -> None:
    results, folder, heard = run(RECIPE, home)
    assert heard.reused == STEPS
    assert heard.worked == set()
    assert heard.warnings == []
    assert figures(results.rows) == figures(finished.rows)
    assert (results.gates, results.pictures) == (finished.gates, finished.pictures)
    assert [model.reused_from for model in results.models] == [finished.id] * 2
    assert sources(results) == [finished.id] * 3
    first = next(row for row in finished.rows if row.provenance is not None).provenance
    assert first is not None
    assert first.reused_from is None
    line = next(line for line in heard.lines if line.startswith("measurement of onnxruntime"))
    assert f"measured {first.measured_at} on {first.machine}" in line
    assert f"({first.cores} cores, load {first.load_average:g})" in line
    before = checksums.read_sums(home / "small" / finished.id)
    after = checksums.read_sums(folder.path)
    assert before is not None
    assert after is not None
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith(("artifacts/", "steps/"))} <= same
    third, _, heard = run(RECIPE, home)
    assert heard.reused == STEPS
    assert sources(third) == [finished.id] * 3  # the run that measured, not the one in between


def test_a_run_stands_alone_when_the_one_that_it_reuses_is_gone(
    finished: Results, home: Path
) -> None:
    _, folder, _ = run(RECIPE, home)
    shutil.rmtree(home / "small" / finished.id)
    results, _, heard = run(RECIPE, home)
    assert heard.reused == STEPS
    assert all((folder.path / name).is_file() for name in FILES)
    assert sources(results) == [finished.id] * 3


def test_a_changed_gate_is_decided_on_the_same_figures(finished: Results, home: Path) -> None:
    gate = {"metric": "size", "target": "onnxruntime", "min_reduction": 100}
    strict = RECIPE | {"gates": [gate]}
    results, _, heard = run(strict, home)
    assert heard.reused == STEPS
    assert (finished.passed, results.passed) == (True, False)
    assert figures(results.rows) == figures(finished.rows)


def test_changed_threads_are_measured_anew_and_nothing_else(finished: Results, home: Path) -> None:
    first, second = RECIPE["targets"]
    results, _, heard = run(RECIPE | {"targets": [first | {"threads": 2}, second]}, home)
    assert heard.reused == [name for name in STEPS if "onnxruntime, batch 1" not in name]
    assert {row.threads for row in results.rows if row.target == "onnxruntime"} == {2}
    assert sources(results) == [None, None, finished.id]
    assert all("onnxruntime" in task for task in heard.worked)


def test_another_machine_measures_anew(
    finished: Results, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "machine", lambda: {"cpu": "another", "cores": 1})
    results, _, heard = run(RECIPE, home)
    assert heard.reused == STEPS[:3]
    assert sources(results) == [None] * 3
    accuracies = [[row.accuracy for row in each.rows] for each in (finished, results)]
    assert accuracies[0] == accuracies[1]


def test_remeasure_reuses_all_but_the_measurements(finished: Results, home: Path) -> None:
    results, _, heard = run(RECIPE, home, remeasure=True)
    assert heard.reused == STEPS[:3]
    assert sources(results) == [None] * 3
    assert [model.reused_from for model in results.models] == [finished.id] * 2
    latest, _, heard = run(RECIPE, home)
    assert heard.reused == STEPS
    assert sources(latest) == [results.id] * 3


def test_fresh_reuses_nothing(finished: Results, home: Path) -> None:
    del finished
    results, _, heard = run(RECIPE, home, fresh=True)
    assert heard.reused == []
    assert sources(results) == [None] * 3
    assert [model.reused_from for model in results.models] == [None] * 2


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_damaged_file_is_named_and_made_again(name: str, finished: Results, home: Path) -> None:
    path = home / "small" / finished.id / name
    good = checksums.of_file(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    results, folder, heard = run(RECIPE, home)
    (warning,) = heard.warnings
    step = next(step for step in STEPS if path.name in step)
    assert f"{name} is damaged or was changed: its SHA-256 is not the recorded one" in warning
    assert warning.endswith(f"so this copy of {step} is not reused")
    assert warning in results.warnings
    assert step not in heard.reused
    assert checksums.of_file(folder.path / name) == good
    assert heard.reused == [each for each in STEPS if each != step]


def test_a_changed_record_of_a_measurement_is_not_believed(finished: Results, home: Path) -> None:
    (record,) = (home / "small" / finished.id / "outcomes").glob("measurement-of-pytorch*")
    record.write_text(record.read_text().replace('"median_s": 0.', '"median_s": 1.'))
    results, _, heard = run(RECIPE, home)
    (warning,) = heard.warnings
    assert "its SHA-256 is not the recorded one" in warning
    assert heard.reused == STEPS[:4]
    assert sources(results) == [finished.id, finished.id, None]


def test_a_search_that_was_stopped_goes_on_in_the_next_run(
    finished: Results, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers cost something: the search ranks them and tries some numbers of them."""
    del finished
    block = {"metric": "agreement", "max_drop": 0.0, "samples": 200}
    step = {
        "method": "quantize",
        "mixed_precision": block,
        "recovery": {"equalize": False, "bias_correction": True, "rounding": "nearest"},
    }
    recipe = RECIPE | {"steps": [step], "targets": [{"runtime": "onnxruntime"}], "gates": []}
    made: list[Path] = []
    quantize, limit = backend.quantize, 7

    def counted(request: Request) -> QuantizedFile:
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(request.destination)
        return quantize(request)

    recoveries: list[Recovered] = []
    exports: list[Path] = []
    recover_, export = recover.recover, exporter.export

    def recovered(*args: Any, **settings: Any) -> Recovered:
        recoveries.append(recover_(*args, **settings))
        return recoveries[-1]

    def exported(model: Model, path: Path, **settings: Any) -> None:
        exports.append(path)
        export(model, path, **settings)

    monkeypatch.setattr(backend, "quantize", counted)
    monkeypatch.setattr(recover, "recover", recovered)
    monkeypatch.setattr(exporter, "export", exported)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, home)
    assert (len(recoveries), len(exports)) == (1, 1)
    (left,) = (home / "small").glob("*/steps/*.unfinished")
    assert list(left.glob("*.onnx"))
    limit = -1
    results, folder, heard = run(recipe, home)
    assert (len(recoveries), len(exports)) == (1, 1)
    assert heard.warnings == []
    notes = {f"for 7-bit weights: {note}" for note in recoveries[0].notes}
    assert notes < set(results.models[-1].notes)
    assert heard.reused == STEPS[:2]
    (search,) = results.models[-1].searches
    assert len(made) == len(search.ranking) + len(search.trials)
    assert not list((home / "small").glob("*/steps/*.unfinished"))
    assert (folder.path / "artifacts" / "1-quantize.onnx").is_file()
    made.clear()
    again, _, heard = run(recipe, home)
    assert made == []
    assert again.models[-1].searches == (search,)
    assert "quantizing of 1-quantize.onnx" in heard.reused
