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
from squeeze.results import Ladder, Rung, Sensitivity
from squeeze.runtimes.base import Execution, several
from squeeze.store import scratch

if TYPE_CHECKING:
    from squeeze.data.splits import Split
    from squeeze.measure.judge import Judge, Predictions
    from squeeze.quantization.request import Outcome, Request
    from squeeze.recipe.schema import MixedPrecision
    from squeeze.runtimes.base import Runtime, Session

_RANKED_ON = 16
"""Images that layers are ranked on: it takes a file per layer."""


@dataclass(frozen=True)
class Trial:
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
    judge: "Judge"
    label: str
    made_for: str | None = None


@dataclass
class _Files:
    """The mixtures that were made so far, each a file in a folder of its own.

    Attributes:
        quantize: The backend's function.
        request: Of the file without layers in float but those that the user keeps.
        trial: How they are measured.
        folder: Where they go.
        units: By name.
        made: File by the units that are float.
    """

    quantize: "Callable[[Request], Outcome]"
    request: "Request"
    trial: Trial
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

    def write(self, layers: Sequence[str], path: Path) -> "Outcome":
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
    quantize: "Callable[[Request], Outcome]", request: "Request", trial: Trial
) -> "tuple[Outcome, Ladder]":
    """Write the file with the fewest layers in float that hold the limit.

    Without any file that holds it, the best one is written, and the ladder says so.

    Args:
        quantize: The backend's function.
        request: With the layers that the user keeps in float.
        trial: How mixtures are measured.

    Raises:
        SqueezeError: The backend failed.
    """
    with scratch() as folder:
        files = _Files(quantize, request, trial, Path(folder))
        outcome = files.write((), Path(folder) / f"int8{request.destination.suffix}")
        files.made[()] = Path(folder) / f"int8{request.destination.suffix}"
        float_predictions = _predictions(request.source, trial, request, "float")
        files.units = {unit.name: unit for unit in _int8_units(request)}

        @cache
        def drop(layers: tuple[str, ...]) -> float:
            title = f"mixed precision on {trial.label}, {len(layers)} layers in float"
            return _drop(
                float_predictions, _predictions(files.file(layers), trial, request, title), trial
            )

        ranking: list[Sensitivity] = []
        if drop(()) > trial.settings.max_drop:
            ranking = _ranking(files)
        climb = search.climb(
            [each.layer for each in ranking],
            drop,
            max_drop=trial.settings.max_drop,
            max_layers=trial.settings.max_layers,
        )
        ladder = _ladder(files, climb, ranking)
        files.write(climb.chosen, request.destination)  # once more: what is kept is that file's
    return outcome, ladder


def _int8_units(request: "Request") -> Iterator[Unit]:
    """Yield the units that are not float anyway."""
    keep, computed = request.keep_float, request.found.computed or {}
    if keep is None:
        return
    for unit in units(keep.operations, computed):
        owners = {name for name, operations in computed.items() if operations & unit.operations}
        if not unit.operations & set(keep.kept) and not owners <= set(request.found.kept):
            yield unit


def _ranking(files: _Files) -> list[Sensitivity]:
    """Measure what every unit loses when it alone is int8, worst first."""
    trial, request = files.trial, files.request
    count = min(_RANKED_ON, len(trial.samples))
    images, _ = trial.samples.batch(range(count))
    expected = _outputs(request.source, trial, images)
    found = []
    path = files.folder / f"alone{request.destination.suffix}"
    with request.progress.task(f"ranking layers on {trial.label}", len(files.units)) as advance:
        for name in files.units:
            path.unlink(missing_ok=True)
            files.write([other for other in files.units if other != name], path)
            noisy = _outputs(path, trial, images)
            found.append(Sensitivity(layer=name, sqnr_db=_sqnr_db(expected, noisy)))
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


def _evaluated(trial: Trial) -> int:
    """Return the batch size in which files are evaluated."""
    return trial.batch_size if trial.runtime.FIXED_BATCH else 1


@contextmanager
def _open(path: Path, trial: Trial) -> "Iterator[Session]":
    session = trial.runtime.open_session(path, trial.execution)
    try:
        yield session
    finally:
        session.close()


def _outputs(path: Path, trial: Trial, images: Any) -> list[Any]:  # noqa: ANN401
    """Return all outputs for some images, each ``(N, …)``."""
    size = _evaluated(trial)
    with _open(path, trial) as session:
        parts = [
            several(session.invoke(session.prepare(images[start : start + size])))
            for start in range(0, len(images), size)
        ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _predictions(path: Path, trial: Trial, request: "Request", title: str) -> "Predictions":
    with _open(path, trial) as session:
        return accuracy.predict(
            session, trial.samples, trial.judge, _evaluated(trial), request.progress, title
        )


def _drop(before: "Predictions", after: "Predictions", trial: Trial) -> float:
    """Return the loss of the metric against the float file, absolute."""
    metric = trial.settings.metric
    if metric == "agreement":
        return 1 - trial.judge.agreement(before, after)
    change = trial.judge.compare(before, after, trial.samples)
    drop = change.drop if metric == "auto" else change.drop_of(metric)
    if drop is None:
        raise SqueezeError(f"the task has no {metric}", where="mixed_precision.metric")
    return drop.value


def _ladder(files: _Files, climb: search.Climb, ranking: Sequence[Sensitivity]) -> Ladder:
    """Time all mixtures that were tried, and put them in order."""
    trial, metric = files.trial, files.trial.settings.metric
    timings = _timings(files)
    baseline = timings["float"]
    rungs = []
    for layers in sorted(files.made, key=len):
        path, timing = files.made[layers], timings[str(layers)]
        coverage = trial.runtime.coverage(path)
        rungs.append(
            Rung(
                layers=layers,
                drop=climb.drops[layers],
                latency_s=timing.latency.median_s,
                speedup=statistics.speedup(baseline.rounds_s, timing.rounds_s),
                size_bytes=path.stat().st_size,
                int8=coverage.int8 if coverage else 0,
                total=coverage.total if coverage else 0,
                chosen=layers == climb.chosen,
            )
        )
    return Ladder(
        target=trial.label,
        made_for=trial.made_for,
        batch_size=trial.batch_size,
        metric=trial.judge.METRIC if metric == "auto" else metric,
        max_drop=trial.settings.max_drop,
        samples=len(trial.samples),
        source=trial.source,
        met=climb.met,
        float_latency_s=baseline.latency.median_s,
        ranking=tuple(ranking),
        rungs=tuple(rungs),
    )


def _timings(files: _Files) -> dict[str, latency.Timing]:
    trial = files.trial
    images, _ = trial.samples.batch([i % len(trial.samples) for i in range(trial.batch_size)])
    paths = {"float": files.request.source} | {str(k): path for k, path in files.made.items()}
    sessions = {name: trial.runtime.open_session(p, trial.execution) for name, p in paths.items()}
    try:
        prepared = {name: session.prepare(images) for name, session in sessions.items()}
        calls = {name: partial(_call, s, prepared[name], trial) for name, s in sessions.items()}
        return latency.in_turns(calls, files.request.progress, f"timing mixtures on {trial.label}")
    finally:
        for session in sessions.values():
            session.close()


def _call(session: "Session", prepared: Any, trial: Trial) -> object:  # noqa: ANN401
    """Do what an application waits for: run a batch and, where that is work, read its outputs."""
    outputs = session.invoke(prepared)
    return trial.judge.predictions(outputs) if trial.judge.DECODES else outputs
