"""Measure all states of a model on one target: accuracy, interleaved latency, cost, kernels."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import cpu
from squeeze.measure import accuracy, latency, layer_times, memory, statistics
from squeeze.recipe import schemes
from squeeze.results import ChangeBlock, Estimate, KernelCoverage, LayerTime, Parity, Row
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Evaluator, Predictions
    from squeeze.models.types import Model
    from squeeze.recipe.schema import Target
    from squeeze.runtimes.base import Session

_EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Candidate:
    """One state's file for a target.

    Attributes:
        name: The model's name in the record.
        path: The exported file or bundle.
        precision: What the file holds.
        model: The torch model it was exported from, for parity; None for quantized files, which
            are made from the candidate before them.
        kept: Operators of the file that are meant to stay float, with the reason.
        with_nms: The file that ends at boxes, where there is one; it is not measured.
    """

    name: str
    path: Path
    precision: str
    model: "Model | None"
    kept: "Mapping[str, str]" = field(default_factory=dict)
    with_nms: Path | None = None


@dataclass(frozen=True)
class Bench:
    """What all targets share.

    Attributes:
        readers: What reads the outputs of a state, by its name; ``task`` where it is missing.
    """

    validation: "Split"
    task: "Evaluator"
    progress: "Progress"
    root: Path
    readers: "Mapping[str, Evaluator]" = field(default_factory=dict)

    def reader(self, state: str) -> "Evaluator":
        """Return what reads the outputs of a state."""
        return self.readers.get(state, self.task)


@dataclass(frozen=True)
class _Measured:
    """What the sessions of a target gave, by state.

    Attributes:
        timings: Of what an application waits for: with the reading of outputs, where that is work.
        network: Without it, where it is work; empty elsewhere.
    """

    predictions: "dict[str, Predictions]"
    parities: dict[str, Parity]
    timings: dict[str, latency.Timing]
    network: dict[str, latency.Timing]


def measure(
    target: "Target", batch_size: int, candidates: list[Candidate], bench: Bench
) -> "tuple[list[Row], dict[str, Predictions]]":
    """Measure the candidates; the first one is the baseline.

    Returns:
        A row per candidate, and the predictions by state.
    """
    runtime = load_runtime(target.runtime)
    sessions = {c.name: runtime.open_session(c.path, _execution(target, c)) for c in candidates}
    evaluation_batch = batch_size if runtime.spec.fixed_batch else _EVALUATION_BATCH
    try:
        predictions = {
            c.name: accuracy.predict(
                sessions[c.name],
                bench.validation,
                bench.reader(c.name),
                evaluation_batch,
                bench.progress,
                f"evaluating {target.label} {c.name}",
            )
            for c in candidates
        }
        parities = _parities(candidates, sessions, batch_size, bench)
        timings, network = _time(sessions, batch_size, bench, target.label)
    finally:
        for session in sessions.values():
            session.close()
    measured = _Measured(predictions, parities, timings, network)
    place = _TargetRun(target, batch_size, candidates, measured)
    with bench.progress.task(f"peak memory on {target.label}", len(candidates)) as advance:
        rows = []
        for c in candidates:
            rows.append(_row(place, c, bench))
            advance()
    return rows, predictions


def _parities(
    candidates: list[Candidate], sessions: "Mapping[str, Session]", batch_size: int, bench: Bench
) -> dict[str, Parity]:
    """Compare the float files with the torch models that they were exported from."""
    return {
        c.name: accuracy.parity(
            c.model, sessions[c.name], bench.validation, batch_size, bench.reader(c.name)
        )
        for c in candidates
        if c.model is not None and c.precision == "fp32"
    }


@dataclass(frozen=True)
class _TargetRun:
    """A target and batch size, with all candidates and what was measured of them."""

    target: "Target"
    batch_size: int
    candidates: list[Candidate]
    measured: _Measured

    def source(self, candidate: Candidate) -> Candidate | None:
        """Return the float candidate that a quantized one was made from."""
        if candidate.model is not None:
            return None
        before = self.candidates[: self.candidates.index(candidate)]
        return next((c for c in reversed(before) if c.model is not None), None)


def _row(place: _TargetRun, candidate: Candidate, bench: Bench) -> Row:
    """Put one candidate's figures together, against the baseline's."""
    target, measured = place.target, place.measured
    state, network = candidate.name, measured.network.get(candidate.name)
    compared = _against_baseline(place, candidate, bench)
    over_float, slow = _against_float(place, candidate, bench)
    return Row(
        model=state,
        target=target.label,
        runtime=target.runtime,
        device=target.device,
        precision=candidate.precision,
        threads=target.threads,
        batch_size=place.batch_size,
        made_for=cpu.other_than_host(target.cpu),
        artifact=_relative(candidate.path, bench.root),
        with_nms=candidate.with_nms and _relative(candidate.with_nms, bench.root),
        size_bytes=size_bytes(candidate.path),
        accuracy=bench.task.score(measured.predictions[state], bench.validation),
        change=compared.change,
        latency=measured.timings[state].latency,
        speedup=compared.speedup,
        network_latency=None if network is None else network.latency,
        network_speedup=compared.network_speedup,
        over_float=over_float,
        slow_layers=slow,
        coverage=_coverage(target, candidate),
        parity=measured.parities.get(state),
        peak_memory_bytes=_memory(target, candidate, place.batch_size, bench),
    )


@dataclass(frozen=True)
class _Comparison:
    """A candidate against the baseline; None of the baseline itself, and of what is not timed."""

    change: ChangeBlock | None = None
    speedup: Estimate | None = None
    network_speedup: Estimate | None = None


def _against_baseline(place: _TargetRun, candidate: Candidate, bench: Bench) -> _Comparison:
    measured, state, baseline = place.measured, candidate.name, place.candidates[0].name
    if state == baseline:
        return _Comparison()
    found = measured.predictions
    return _Comparison(
        bench.task.compare(found[baseline], found[state], bench.validation),
        _ratio(measured.timings, baseline, state),
        _ratio(measured.network, baseline, state) if state in measured.network else None,
    )


def _against_float(
    place: _TargetRun, candidate: Candidate, bench: Bench
) -> tuple[Estimate | None, tuple[LayerTime, ...] | None]:
    """Return the speed-up over the float file, and the layers that make the candidate slower."""
    source = place.source(candidate)
    if source is None:
        return None, None
    speedup = _ratio(place.measured.timings, source.name, candidate.name)
    slow = _slow_layers(place, source, candidate, bench) if speedup.high < 1 else None
    return speedup, slow


def _ratio(timings: "Mapping[str, latency.Timing]", baseline: str, state: str) -> Estimate:
    return statistics.speedup(timings[baseline].rounds_s, timings[state].rounds_s)


def _slow_layers(
    place: _TargetRun, source: Candidate, candidate: Candidate, bench: Bench
) -> tuple[LayerTime, ...] | None:
    """Return the layers that make a quantized file slower, where the runtime times layers."""
    runtime = load_runtime(place.target.runtime)
    images = _images(place.batch_size, bench)
    execution = _execution(place.target, candidate)
    both = runtime.profile([source.path, candidate.path], execution, images)
    return None if both is None else layer_times.slower(both[0], both[1])


def size_bytes(path: Path) -> int:
    """Return a file's size; of a bundle, that of its weights and architecture."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        (path / name).stat().st_size for name in ("weights.safetensors", "architecture.json")
    )


def _time(
    sessions: "dict[str, Session]", batch_size: int, bench: Bench, label: str
) -> tuple[dict[str, latency.Timing], dict[str, latency.Timing]]:
    """Time all sessions interleaved, with reading of outputs and, where that is work, without."""
    images = _images(batch_size, bench)
    prepared = {state: session.prepare(images) for state, session in sessions.items()}
    calls: dict[tuple[str, bool], Callable[[], object]] = {
        (state, False): partial(session.invoke, prepared[state])
        for state, session in sessions.items()
    }
    if bench.task.DECODES:
        calls |= {
            (state, True): partial(_decoded, session, prepared[state], bench.reader(state))
            for state, session in sessions.items()
        }
    timings = latency.interleaved(calls, bench.progress, f"timing {label}, batch {batch_size}")
    plain, decoded = (
        {state: timing for (state, way), timing in timings.items() if way is wanted}
        for wanted in (False, True)
    )
    return (decoded, plain) if decoded else (plain, {})


def _images(batch_size: int, bench: Bench) -> "NDArray[np.float32]":
    """Return the images that everything is timed on."""
    images, _ = bench.validation.batch([i % len(bench.validation) for i in range(batch_size)])
    return images


def _decoded(session: "Session", prepared: object, reader: "Evaluator") -> object:
    return reader.predictions(session.invoke(prepared))


def _coverage(target: "Target", candidate: Candidate) -> KernelCoverage | None:
    """Count the kernels of an int8 file; what the recipe keeps in float gets its reason there."""
    if not schemes.is_int8(candidate.precision):
        return None
    found, kept = load_runtime(target.runtime).coverage(candidate.path), candidate.kept
    if found is None:
        return None
    survivors = tuple(replace(n, reason=kept.get(n.name, n.reason)) for n in found.survivors)
    return replace(found, survivors=survivors)


def _execution(target: "Target", candidate: Candidate) -> Execution:
    return Execution(target.threads, target.device, candidate.precision)


def _memory(target: "Target", candidate: Candidate, batch_size: int, bench: Bench) -> int | None:
    if target.device != "cpu":
        return None
    shape = (batch_size, *bench.validation.spec.shape)
    try:
        return memory.peak_bytes(
            target.runtime, candidate.path, _execution(target, candidate), shape
        )
    except (RuntimeError, OSError) as error:
        bench.progress.say(
            f"peak memory of {candidate.name} on {target.label} could not be measured: {error}"
        )
        return None


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
