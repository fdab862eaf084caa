"""Accuracy-aware mixed precision: rank layers by what int8 costs, keep the fewest in float.

Everything is measured on files in their runtime: the loss that one layer alone causes, the loss
of every mixture that is tried, and the latency of them all, in turns.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.measure import accuracy, latency, statistics
from squeeze.quantization.mixed_precision import search
from squeeze.quantization.mixed_precision.units import Unit, units
from squeeze.results import LayerSensitivity, MixedPrecisionSearch, MixedPrecisionTrial
from squeeze.runtimes.base import Execution, several
from squeeze.store import scratch

if TYPE_CHECKING:
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Evaluator, Predictions
    from squeeze.quantization.request import QuantizedFile, Request
    from squeeze.recipe.schema import MixedPrecision
    from squeeze.runtimes.base import Runtime, Session

_RANKED_ON = 16
"""Images that layers are ranked on: it takes a file per layer."""


@dataclass(frozen=True)
class TrialSetup:
    """How mixtures are measured.

    Attributes:
        settings: The recipe's.
        runtime: Of the file.
        execution: How the target runs it.
        batch_size: What is timed; the file's own where it holds one.
        samples: What the loss is measured on; never the validation set.
        source: What these samples are, for the report.
        judge: Reads the outputs.
        label: The target's name.
        made_for: Its processor where this host cannot stand for it.
    """

    settings: "MixedPrecision"
    runtime: "Runtime"
    execution: Execution
    batch_size: int
    samples: "Split"
    source: str
    evaluator: "Evaluator"
    label: str
    made_for: str | None = None


@dataclass
class _Files:
    """The mixtures that were made so far, each a file in a folder of its own.

    Attributes:
        quantize: The backend's function.
        request: Of the file without layers in float but those that the user keeps.
        setup: How they are measured.
        folder: Where they go.
        units: By name.
        made: File by the units that are float.
    """

    quantize: "Callable[[Request], QuantizedFile]"
    request: "Request"
    setup: TrialSetup
    folder: Path
    units: dict[str, Unit] = field(default_factory=dict)
    made: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def file(self, layers: tuple[str, ...]) -> Path:
        """Return the file in which these units are float."""
        if layers not in self.made:
            name = f"{len(self.made)}{self.request.destination.suffix}"
            self.write(layers, self.folder / name)
            self.made[layers] = self.folder / name
        return self.made[layers]

    def write(self, layers: Sequence[str], path: Path) -> "QuantizedFile":
        """Make a file in which these units are float, and those that the user keeps."""
        keep, found = self.request.keep_float, self.request.found
        if keep is None:
            raise SqueezeError("has nothing to look layers up with", where="mixed_precision")
        if found.computed is not None:
            reasons = {
                name: "kept in float by mixed_precision"
                for layer in layers
                for name in self.units[layer].operations
            }
            keep = keep.keeping(reasons | dict(keep.kept), found.computed)
        return self.quantize(replace(self.request, destination=path, keep_float=keep))


def mix(
    quantize: "Callable[[Request], QuantizedFile]", request: "Request", setup: TrialSetup
) -> "tuple[QuantizedFile, MixedPrecisionSearch]":
    """Write the file with the fewest layers in float that hold the limit.

    Without any file that holds it, the best one is written, and the ladder says so.

    Args:
        quantize: The backend's function.
        request: With the layers that the user keeps in float.
        setup: How mixtures are measured.

    Raises:
        SqueezeError: The backend failed.
    """
    with scratch() as folder:
        files = _Files(quantize, request, setup, Path(folder))
        outcome = files.write((), Path(folder) / f"int8{request.destination.suffix}")
        files.made[()] = Path(folder) / f"int8{request.destination.suffix}"
        float_predictions = _predictions(request.source, setup, request, "float")
        files.units = {unit.name: unit for unit in _int8_units(request)}

        @cache
        def drop(layers: tuple[str, ...]) -> float:
            title = f"mixed precision on {setup.label}, {len(layers)} layers in float"
            return _drop(
                float_predictions, _predictions(files.file(layers), setup, request, title), setup
            )

        ranking: list[LayerSensitivity] = []
        if drop(()) > setup.settings.max_drop:
            ranking = _ranking(files)
        tried = search.search(
            [each.layer for each in ranking],
            drop,
            max_drop=setup.settings.max_drop,
            max_layers=setup.settings.max_layers,
        )
        search_record = _record(files, tried, ranking)
        files.write(tried.chosen, request.destination)  # once more: what is kept is that file's
    return outcome, search_record


def _int8_units(request: "Request") -> Iterator[Unit]:
    """Yield the units that are not float anyway."""
    keep, computed = request.keep_float, request.found.computed or {}
    if keep is None:
        return
    for unit in units(keep.operations, computed):
        owners = {name for name, operations in computed.items() if operations & unit.operations}
        if not unit.operations & set(keep.kept) and not owners <= set(request.found.kept):
            yield unit


def _ranking(files: _Files) -> list[LayerSensitivity]:
    """Measure what every unit loses when it alone is int8, worst first."""
    setup, request = files.setup, files.request
    count = min(_RANKED_ON, len(setup.samples))
    images, _ = setup.samples.batch(range(count))
    expected = _outputs(request.source, setup, images)
    found = []
    path = files.folder / f"alone{request.destination.suffix}"
    with request.progress.task(f"ranking layers on {setup.label}", len(files.units)) as advance:
        for name in files.units:
            path.unlink(missing_ok=True)
            files.write([other for other in files.units if other != name], path)
            noisy = _outputs(path, setup, images)
            found.append(LayerSensitivity(layer=name, sqnr_db=_sqnr_db(expected, noisy)))
            advance()
    return sorted(found, key=lambda each: each.sqnr_db)


def _sqnr_db(expected: Sequence[Any], found: Sequence[Any]) -> float:
    """Return the worst output's signal-to-quantization-noise ratio in dB, at most 200."""
    worst = 0.0
    for signal, noisy in zip(expected, found, strict=True):
        noise = float(np.square(signal.astype(np.float64) - noisy).sum())
        power = float(np.square(signal.astype(np.float64)).sum())
        worst = max(worst, noise / power if power else float(noise > 0))
    return min(200.0, -10 * math.log10(worst)) if worst else 200.0


def _evaluated(setup: TrialSetup) -> int:
    """Return the batch size in which files are evaluated."""
    return setup.batch_size if setup.runtime.FIXED_BATCH else 1


@contextmanager
def _open(path: Path, setup: TrialSetup) -> "Iterator[Session]":
    session = setup.runtime.open_session(path, setup.execution)
    try:
        yield session
    finally:
        session.close()


def _outputs(path: Path, setup: TrialSetup, images: Any) -> list[Any]:  # noqa: ANN401
    """Return all outputs for some images, each ``(N, …)``."""
    size = _evaluated(setup)
    with _open(path, setup) as session:
        parts = [
            several(session.invoke(session.prepare(images[start : start + size])))
            for start in range(0, len(images), size)
        ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _predictions(path: Path, setup: TrialSetup, request: "Request", title: str) -> "Predictions":
    with _open(path, setup) as session:
        return accuracy.predict(
            session, setup.samples, setup.evaluator, _evaluated(setup), request.progress, title
        )


def _drop(before: "Predictions", after: "Predictions", setup: TrialSetup) -> float:
    """Return the loss of the metric against the float file, absolute."""
    metric = setup.settings.metric
    if metric == "agreement":
        return 1 - setup.evaluator.agreement(before, after)
    change = setup.evaluator.compare(before, after, setup.samples)
    drop = change.drop if metric == "auto" else change.drop_of(metric)
    if drop is None:
        raise SqueezeError(f"the task has no {metric}", where="mixed_precision.metric")
    return drop.value


def _record(
    files: _Files, outcome: search.SearchOutcome, ranking: Sequence[LayerSensitivity]
) -> MixedPrecisionSearch:
    """Time all mixtures that were tried, and put them in order."""
    setup, metric = files.setup, files.setup.settings.metric
    timings = _timings(files)
    baseline = timings["float"]
    trials = []
    for layers in sorted(files.made, key=len):
        path, timing = files.made[layers], timings[str(layers)]
        coverage = setup.runtime.coverage(path)
        trials.append(
            MixedPrecisionTrial(
                layers=layers,
                drop=outcome.drops[layers],
                latency_s=timing.latency.median_s,
                speedup=statistics.speedup(baseline.rounds_s, timing.rounds_s),
                size_bytes=path.stat().st_size,
                int8=coverage.int8 if coverage else 0,
                total=coverage.total if coverage else 0,
                chosen=layers == outcome.chosen,
            )
        )
    return MixedPrecisionSearch(
        target=setup.label,
        made_for=setup.made_for,
        batch_size=setup.batch_size,
        metric=setup.evaluator.METRIC if metric == "auto" else metric,
        max_drop=setup.settings.max_drop,
        samples=len(setup.samples),
        source=setup.source,
        met=outcome.met,
        float_latency_s=baseline.latency.median_s,
        ranking=tuple(ranking),
        trials=tuple(trials),
    )


def _timings(files: _Files) -> dict[str, latency.Timing]:
    setup = files.setup
    images, _ = setup.samples.batch([i % len(setup.samples) for i in range(setup.batch_size)])
    paths = {"float": files.request.source} | {str(k): path for k, path in files.made.items()}
    sessions = {name: setup.runtime.open_session(p, setup.execution) for name, p in paths.items()}
    try:
        prepared = {name: session.prepare(images) for name, session in sessions.items()}
        calls = {name: partial(_call, s, prepared[name], setup) for name, s in sessions.items()}
        return latency.in_turns(calls, files.request.progress, f"timing mixtures on {setup.label}")
    finally:
        for session in sessions.values():
            session.close()


def _call(session: "Session", prepared: Any, setup: TrialSetup) -> object:  # noqa: ANN401
    """Do what an application waits for: run a batch and, where that is work, read its outputs."""
    outputs = session.invoke(prepared)
    return setup.evaluator.predictions(outputs) if setup.evaluator.DECODES else outputs
