"""Accuracy-aware mixed precision: rank layers by what int8 costs, keep the fewest in float.

Everything is measured on files in their runtime: the loss that one layer alone causes, the loss
of every mixture that is tried, and the latency of them all, interleaved.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.measure import accuracy, latency, statistics
from squeeze.quantization.mixed_precision import search
from squeeze.quantization.mixed_precision.trial_store import StoredTrial, TrialStore
from squeeze.quantization.mixed_precision.units import Unit, units
from squeeze.results import LayerSensitivity, MixedPrecisionSearch, MixedPrecisionTrial
from squeeze.runtimes.base import Execution, several
from squeeze.store import new_file, scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Evaluator, Predictions
    from squeeze.quantization.request import FileFacts, QuantizedFile, Request
    from squeeze.recipe.schema import MixedPrecision
    from squeeze.runtimes.base import Session
    from squeeze.runtimes.runtime import Runtime

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
        evaluator: Reads the outputs.
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


@dataclass(frozen=True)
class _Mixtures:
    """The files of one search: made when they are asked for, and kept on disk.

    Attributes:
        quantize: The backend's function.
        request: Of the file without layers in float but those that the user keeps.
        setup: How they are measured.
        store: Where they lie.
        plain: What was done for the file without layers in float, and found out about its source.
        units: By name.
        float_predictions: Of the float file.
    """

    quantize: "Callable[[Request], QuantizedFile]"
    request: "Request"
    setup: TrialSetup
    store: TrialStore
    plain: "QuantizedFile"
    units: dict[str, Unit]
    float_predictions: "Predictions"

    def trial(self, layers: tuple[str, ...]) -> StoredTrial:
        """Return the trial in which these units are float; make and measure it if need be."""
        found = self.store.trial(layers)
        if found is None:
            path, kept = self.store.path(layers), self.plain.facts.kept
            if layers:
                kept = self.write(layers, path).facts.kept
            title = f"mixed precision on {self.setup.label}, {len(layers)} layers in float"
            predictions = _predictions(path, self.setup, self.request, title)
            drop = _drop(self.float_predictions, predictions, self.setup)
            self.store.keep_trial(layers, drop, kept)
            found = StoredTrial(path, drop, kept)
        return found

    def write(self, layers: Sequence[str], path: Path) -> "QuantizedFile":
        """Make a file in which these units are float, and those that the user keeps."""
        keep, facts = self.request.keep_float, self.plain.facts
        if keep is None or facts.computed is None:
            raise SqueezeError(
                "the backend does not report which operators compute which layers",
                where="mixed_precision",
            )
        reasons = {
            name: "kept in float by mixed_precision"
            for layer in layers
            for name in self.units[layer].operations
        }
        keep = keep.keeping(reasons | dict(keep.kept), facts.computed)
        return self.quantize(replace(self.request, destination=path, keep_float=keep, known=facts))


def mix(
    quantize: "Callable[[Request], QuantizedFile]",
    request: "Request",
    setup: TrialSetup,
    store: TrialStore,
) -> "QuantizedFile":
    """Write the file with the fewest layers in float that meets the limit.

    Where none meets it, the best one is written, and the record of the search says so. Trials that
    ``store`` holds are not run again.

    Args:
        quantize: The backend's function.
        request: With the layers that the user keeps in float.
        setup: How mixtures are measured.
        store: Of the trials.

    Raises:
        SqueezeError: The backend failed.
    """
    plain = _plain(quantize, request, store)
    int8_units = {unit.name: unit for unit in _int8_units(request, plain.facts)}
    predictions = _predictions(request.source, setup, request, "float")
    mixtures = _Mixtures(quantize, request, setup, store, plain, int8_units, predictions)
    limit, ranking = setup.settings.max_drop, list[LayerSensitivity]()
    if mixtures.trial(()).drop > limit:
        ranking = _ranking(mixtures)
    tried = search.search(
        [each.layer for each in ranking],
        lambda layers: mixtures.trial(layers).drop,
        max_drop=limit,
        max_layers=setup.settings.max_layers,
    )
    record = _record(mixtures, tried, ranking)
    chosen = mixtures.trial(tried.chosen)
    with new_file(request.destination) as inside:
        shutil.copyfile(chosen.path, inside)
    facts = replace(plain.facts, kept=chosen.kept)
    return replace(plain, facts=facts, search=record)


def _plain(
    quantize: "Callable[[Request], QuantizedFile]", request: "Request", store: TrialStore
) -> "QuantizedFile":
    """Return what was done for the file without layers in float; make it if need be."""
    plain = store.plain()
    if plain is None:
        plain = quantize(replace(request, destination=store.path(())))
        store.keep_plain(plain)
    return plain


def _int8_units(request: "Request", facts: "FileFacts") -> Iterator[Unit]:
    """Yield the units that are not float anyway."""
    keep, computed = request.keep_float, facts.computed or {}
    if keep is None:
        return
    for unit in units(keep.operations, computed):
        owners = {name for name, operations in computed.items() if operations & unit.operations}
        if not unit.operations & set(keep.kept) and not owners <= set(facts.kept):
            yield unit


def _ranking(mixtures: _Mixtures) -> list[LayerSensitivity]:
    """Measure what is lost with each unit alone in int8, worst first."""
    setup, request, store = mixtures.setup, mixtures.request, mixtures.store
    count = min(_RANKED_ON, len(setup.samples))
    images, _ = setup.samples.batch(range(count))
    expected = _outputs(request.source, setup, images)
    found, units = [], mixtures.units
    with (
        scratch() as folder,
        request.progress.task(f"ranking layers on {setup.label}", len(units)) as advance,
    ):
        path = folder / f"alone{request.destination.suffix}"
        for name in units:
            sqnr_db = store.sensitivity(name)
            if sqnr_db is None:
                path.unlink(missing_ok=True)
                mixtures.write([other for other in units if other != name], path)
                sqnr_db = _sqnr_db(expected, _outputs(path, setup, images))
                store.keep_sensitivity(name, sqnr_db)
            found.append(LayerSensitivity(layer=name, sqnr_db=sqnr_db))
            advance()
    return sorted(found, key=lambda each: each.sqnr_db)


def _sqnr_db(
    expected: "Sequence[NDArray[np.float32]]", found: "Sequence[NDArray[np.float32]]"
) -> float:
    """Return the worst output's signal-to-quantization-noise ratio in dB, at most 200."""
    worst = 0.0
    for signal, noisy in zip(expected, found, strict=True):
        noise = float(np.square(signal.astype(np.float64) - noisy).sum())
        power = float(np.square(signal.astype(np.float64)).sum())
        worst = max(worst, noise / power if power else float(noise > 0))
    return min(200.0, -10 * math.log10(worst)) if worst else 200.0


def _evaluated(setup: TrialSetup) -> int:
    """Return the batch size in which files are evaluated."""
    return setup.batch_size if setup.runtime.spec.fixed_batch else 1


@contextmanager
def _open(path: Path, setup: TrialSetup) -> "Iterator[Session]":
    session = setup.runtime.open_session(path, setup.execution)
    try:
        yield session
    finally:
        session.close()


def _outputs(
    path: Path, setup: TrialSetup, images: "NDArray[np.float32]"
) -> "list[NDArray[np.float32]]":
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
        raise SqueezeError(
            f"metric '{metric}' is not available for this task", where="mixed_precision.metric"
        )
    return drop.value


def _record(
    mixtures: _Mixtures, outcome: search.SearchOutcome, ranking: Sequence[LayerSensitivity]
) -> MixedPrecisionSearch:
    """Time all mixtures that were tried, and put them in order."""
    setup, metric = mixtures.setup, mixtures.setup.settings.metric
    tried = sorted(outcome.drops, key=len)
    paths = {str(layers): mixtures.trial(layers).path for layers in tried}
    timings = _timings({"float": mixtures.request.source} | paths, mixtures)
    baseline = timings["float"]
    trials = []
    for layers in tried:
        path, timing = paths[str(layers)], timings[str(layers)]
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


def _timings(paths: Mapping[str, Path], mixtures: _Mixtures) -> dict[str, latency.Timing]:
    setup = mixtures.setup
    images, _ = setup.samples.batch([i % len(setup.samples) for i in range(setup.batch_size)])
    sessions = {name: setup.runtime.open_session(p, setup.execution) for name, p in paths.items()}
    try:
        prepared = {name: session.prepare(images) for name, session in sessions.items()}
        calls = {name: partial(_call, s, prepared[name], setup) for name, s in sessions.items()}
        return latency.interleaved(
            calls, mixtures.request.progress, f"timing mixtures on {setup.label}"
        )
    finally:
        for session in sessions.values():
            session.close()


def _call(session: "Session", prepared: object, setup: TrialSetup) -> object:
    """Do what an application waits for: run a batch and, where that is work, read its outputs."""
    outputs = session.invoke(prepared)
    return setup.evaluator.predictions(outputs) if setup.evaluator.DECODES else outputs
