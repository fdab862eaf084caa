"""The files that ship: every state exported for every target, and the quantize step on them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from squeeze.core import cpu, plugins
from squeeze.core.errors import InputError, SqueezeError
from squeeze.export import file
from squeeze.measure.target import Candidate
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.quantization.qat.agreement import agreement
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.simulation import folded
from squeeze.quantization.recovery.recover import Recovered, recover
from squeeze.quantization.request import Request
from squeeze.recipe import schemes
from squeeze.recipe.schema import Quantization, QuantizeStep, Recipe, Target
from squeeze.results import MissedGoal, ModelRecord, Row
from squeeze.runtimes.base import Execution
from squeeze.store import scratch
from squeeze.tasks import nms_file

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.factory import Model
    from squeeze.pipeline.models import ModelState
    from squeeze.runtimes.base import Runtime
    from squeeze.store import RunFolder
    from squeeze.tasks.base import Task

_TRIED = 8
"""Images on which a file with suppression inside is compared with the raw one."""


@dataclass
class Shipped:
    """What was made, by target and batch size, and what was left out and why."""

    candidates: dict[tuple[str, int], list[Candidate]] = field(default_factory=dict)
    skipped: list[Row] = field(default_factory=list)
    records: list[ModelRecord] = field(default_factory=list)


@dataclass(frozen=True)
class _FilePlace:
    """Where a state is going to run: one of a target's batch sizes."""

    target: Target
    batch_size: int

    def without(self, state: str, reason: str) -> Row:
        """Return the row that says why a state is not measured here."""
        return Row(
            model=state,
            target=self.target.label,
            runtime=self.target.runtime,
            device=self.target.device,
            precision=self.target.precision,
            threads=self.target.threads,
            batch_size=self.batch_size,
            made_for=cpu.other_than_host(self.target.cpu),
            skipped=reason,
        )


@dataclass
class _Quantizing:
    """The recipe's quantize step while its files are made, one per place.

    Attributes:
        mixed: Which layers stay float.
        trained: The model that was trained for it, if the step trains.
        unmet: The backend's own aim, if it was missed.
    """

    state: str
    step: Quantization
    calibration: "Split | None"
    task: "Task"
    mixed: FloatLayers
    trained: "ModelState | None" = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    recovered: "dict[int, Recovered]" = field(default_factory=dict)
    missed_goal: MissedGoal | None = None


def check_targets(recipe: Recipe) -> None:
    """Refuse targets that cannot run here, before anything is trained for them.

    Raises:
        InputError: A target cannot run here and may not be left out.
    """
    for target in recipe.targets:
        reason = _runtime(target).unavailable(target.device)
        if reason is not None and not target.if_available:
            raise InputError(
                reason,
                where=f"target {target.label}",
                hint="set if_available: true to leave it out",
            )


def make(
    recipe: Recipe,
    states: "Sequence[ModelState]",
    calibration: "Split | None",
    task: "Task",
    folder: "RunFolder",
    progress: "Progress",
    *,
    train: "Split | None" = None,
) -> Shipped:
    """Export every state for every target and apply the quantize step.

    Args:
        recipe: What to make.
        states: Of the torch module, the baseline first.
        calibration: For the ranges of activations.
        task: Reads the outputs.
        folder: Of the run.
        progress: Where bars go.
        train: What mixed precision measures on.

    Raises:
        SqueezeError: An exporter or a quantizer failed.
    """
    shipped, quantizing = Shipped(), _quantizing(recipe, calibration, train, task, states)
    states = [state for state in states if state.ranges is None]
    made_by_step = None if quantizing is None else schemes.SCHEMES[quantizing.step.scheme].precision
    for place in _places(recipe):
        target = place.target
        reason = _runtime(target).unavailable(target.device)
        if reason is not None:
            shipped.skipped.append(place.without(states[-1].record.name, reason))
            continue
        precision = _float_precision(target, made_by_step)
        made = [_exported(state, place, precision, folder, progress) for state in states]
        shipped.candidates[target.label, place.batch_size] = made
        if quantizing is None:
            continue
        reason = schemes.left_out(quantizing.step, target)
        if reason is not None:
            reason += "; the float model above ships here"
            shipped.skipped.append(place.without(quantizing.state, reason))
            continue
        made.append(_quantized(made[-1], place, quantizing, folder, progress))
    if quantizing is not None:
        shipped.records.append(_record(quantizing, states[-1].record))
    return shipped


def end_at_boxes_(
    recipe: Recipe, shipped: Shipped, model: "Model", split: "Split", progress: "Progress"
) -> None:
    """Write files with suppression inside beside those of targets that ask for them.

    Args:
        recipe: Its targets tell which.
        shipped: Its candidates learn where the files are.
        model: What quantized files were made from.
        split: A few of its images are tried.
        progress: Where bars and narration go.

    Raises:
        SqueezeError: Such a file finds other objects than decoding the raw file's outputs.
    """
    for place in _places(recipe):
        key = place.target.label, place.batch_size
        if not place.target.nms or key not in shipped.candidates:
            continue
        images, _ = split.batch(list(range(min(_TRIED, len(split)))))
        for number, candidate in enumerate(shipped.candidates[key]):
            path = nms_file.path_of(candidate.path)
            if not path.exists():
                with progress.task(f"suppression inside {candidate.name}", 1) as advance:
                    done = nms_file.write(candidate.path, candidate.model or model, images)
                    advance()
                progress.say(
                    f"{path.name}: {done.shared:.1%} of {done.detections} detections in "
                    f"{len(images)} images are those of {candidate.path.name}"
                )
            shipped.candidates[key][number] = replace(candidate, with_nms=path)


def check_parity(rows: Iterable[Row]) -> None:
    """Refuse an export whose outputs are not those of the torch model.

    Raises:
        SqueezeError: A float file differs by more than 1 % of the largest output.
    """
    for row in rows:
        parity = row.parity
        if parity is not None and parity.max_difference > file.PARITY_LIMIT * parity.scale:
            raise SqueezeError(
                f"its outputs differ from torch by up to {parity.max_difference:.3g}, outputs "
                f"reach {parity.scale:.3g}",
                where=f"{row.artifact} on {row.target}",
                hint="the exporter changed the model; please report the architecture",
            )


def _runtime(target: Target) -> "Runtime":
    runtime: Runtime = plugins.load(plugins.RUNTIMES, target.runtime)
    return runtime


def _places(recipe: Recipe) -> Iterator[_FilePlace]:
    for target in recipe.targets:
        for batch_size in target.batch_sizes:
            yield _FilePlace(target, batch_size)


def _quantizing(
    recipe: Recipe,
    calibration: "Split | None",
    train: "Split | None",
    task: "Task",
    states: "Sequence[ModelState]",
) -> _Quantizing | None:
    trained = next((state for state in states if state.ranges is not None), None)
    task = task.of(states[-1].model.module)  # which a distilled student may have changed
    for number, step in enumerate(recipe.steps, start=1):
        if isinstance(step, Quantization):
            mixed = FloatLayers(step, f"steps.{number - 1}", calibration, train, task, recipe.seed)
            return _Quantizing(f"{number}-{step.method}", step, calibration, task, mixed, trained)
    return None


def _float_precision(target: Target, made_by_step: str | None) -> str:
    """Return what states before the quantize step are run in."""
    if target.runtime != "pytorch" or target.precision in {"auto", made_by_step}:
        return "fp32"
    return target.precision


def _exported(
    state: "ModelState",
    place: _FilePlace,
    precision: str,
    folder: "RunFolder",
    progress: "Progress",
) -> Candidate:
    name, target = state.record.name, place.target
    artifact = _runtime(target).ARTIFACT
    if artifact == "bundle":
        return Candidate(name, state.bundle, precision, state.model)
    with progress.task(f"exporting {name} for {target.runtime}", 1) as advance:
        path = file.write(
            name,
            state.model,
            artifact,
            place.batch_size,
            folder.artifact(""),
            folder.path / "log.txt",
        )
        advance()
    return Candidate(name, path, precision, state.model)


def _quantized(
    source: Candidate,
    place: _FilePlace,
    quantizing: _Quantizing,
    folder: "RunFolder",
    progress: "Progress",
) -> Candidate:
    started, state, step = time.perf_counter(), quantizing.state, quantizing.step
    name = schemes.backend_of(step.backend, place.target.runtime)
    backend = plugins.load(plugins.BACKENDS, name)
    kind, precision = _runtime(place.target).ARTIFACT, schemes.SCHEMES[step.scheme].precision
    made_for = cpu.elsewhere(place.target.cpu)
    called = state if made_for is None else f"{state}-{made_for}"
    path = folder.artifact(
        called if kind == "bundle" else file.name_of(called, kind, place.batch_size)
    )
    if not path.exists():
        progress.say(f"{called}: quantizing for {place.target.label}")
        processor = cpu.named(place.target.cpu)
        log, bits = folder.path / "log.txt", backend.bits(step, processor)
        model, step, trained = _to_quantize(source, bits, quantizing, progress)
        with scratch() as folder_of_floats:
            floats = source.path
            if kind != "bundle":
                floats = file.write(state, model, kind, place.batch_size, folder_of_floats, log)
            request = Request(
                floats,
                path,
                step,
                quantizing.calibration,
                progress,
                log,
                trained,
                keep_float=(
                    quantizing.mixed.keep_float(source.model, model, place.batch_size)
                    if trained is None
                    else trained.keep_float(model, place.batch_size)
                ),
                model=model,
                cpu=processor,
            )
            outcome = quantizing.mixed.quantize(
                backend.quantize, request, place.target, place.batch_size
            )
        if kind != "bundle":
            file.describe(path, source.model or model, place.batch_size)
        quantizing.missed_goal = quantizing.missed_goal or outcome.missed_goal
        notes = [_chosen(step.backend, name), *outcome.notes]
        if trained is not None and quantizing.calibration is not None:
            session = _runtime(place.target).open_session(path, Execution())
            notes.append(agreement(session, trained, quantizing.calibration, quantizing.task))
        quantizing.notes += [f"{place.target.label}: {note}" for note in notes]
    quantizing.seconds += time.perf_counter() - started
    return Candidate(state, path, precision, None, quantizing.mixed.in_float.get(path, {}))


def _chosen(wanted: str, backend: str) -> str:
    """Say which backend makes a file and why."""
    if wanted != "auto":
        return f"backend {backend}: set in the recipe"
    return f"backend {backend}: the runtime's own, whose files its kernels are made for"


def _to_quantize(
    source: Candidate, bits: int, quantizing: _Quantizing, progress: "Progress"
) -> "tuple[Model, Quantization, TrainedRanges | None]":
    """Return the float model, the step for its file, and the ranges where they were trained."""
    trained, step = quantizing.trained, quantizing.step
    if isinstance(step, QuantizeStep):
        if source.model is None:
            raise SqueezeError("needs a float model", where=quantizing.state)
        if not schemes.SCHEMES[step.scheme].int8_weights:
            return source.model, step, None
        if not schemes.takes_recovered(step.backend):
            told = f"accuracy recovery: none, {step.backend} rounds to a grid of its own"
            quantizing.notes.append(told)
            return source.model, step, None
        if quantizing.calibration is None:
            told = "accuracy recovery: none, it takes calibration data and there is none"
            quantizing.notes.append(told)
            return source.model, step, None
        return _recovered(source, bits, step, quantizing, progress).model, step, None
    if trained is None or trained.ranges is None or quantizing.calibration is None:
        raise SqueezeError("was not trained", where=quantizing.state)
    ranges = TrainedRanges(trained.model, trained.ranges, quantizing.calibration)
    # folded here and not by the converters, whose names make a small LiteRT file a third larger
    model = replace(trained.model, module=folded(trained.model.module))
    return model, step.model_copy(update={"weight_bits": trained.ranges.bits}), ranges


def _recovered(
    source: Candidate, bits: int, step: QuantizeStep, quantizing: _Quantizing, progress: "Progress"
) -> Recovered:
    """Return the model to quantize, made once for all targets with so many bits."""
    if source.model is None or quantizing.calibration is None:
        raise SqueezeError("needs a float model and calibration data", where=quantizing.state)
    if bits not in quantizing.recovered:
        settings = step.recovery
        if step.scheme == "weight_only_int8":  # equalizing serves the ranges of activations
            settings = settings.model_copy(update={"equalize": False})
        found = recover(source.model, settings, quantizing.calibration, progress, bits=bits)
        quantizing.recovered[bits] = found
        quantizing.notes += [f"for {bits}-bit weights: {note}" for note in found.notes]
    return quantizing.recovered[bits]


def _record(quantizing: _Quantizing, before: ModelRecord) -> ModelRecord:
    """Return the state's record; quantization removes neither parameters nor MACs."""
    training = None if quantizing.trained is None else quantizing.trained.record
    notes = (*(training.notes if training else ()), *quantizing.notes)
    return ModelRecord(
        name=quantizing.state,
        method=quantizing.step.method,
        params=before.params,
        macs=before.macs,
        seconds=quantizing.seconds + (training.seconds if training else 0.0),
        notes=tuple(dict.fromkeys(notes)),
        epochs=training.epochs if training else (),
        bundle=training.bundle if training else None,
        missed_goal=quantizing.missed_goal or quantizing.mixed.missed_goal,
        searches=tuple(quantizing.mixed.searches),
        reused_from=training.reused_from if training else None,
    )
