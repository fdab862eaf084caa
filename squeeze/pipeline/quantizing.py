"""The quantize step: a file per runtime, batch size and processor, each with a key of its own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import cpu, plugins
from squeeze.core.errors import SqueezeError
from squeeze.exporting import file
from squeeze.measure.target import Candidate
from squeeze.pipeline import fingerprints
from squeeze.pipeline.models import ModelState
from squeeze.pipeline.places import FilePlace
from squeeze.pipeline.steps import Outcome, RunContext, Step, perform, step_key
from squeeze.quantization import backend as backends
from squeeze.quantization.backend import Backend
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.quantization.mixed_precision.trial_store import StoredStart, TrialStore
from squeeze.quantization.qat.agreement import agreement
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.simulation import folded
from squeeze.quantization.recovery.recover import Recovered, recovered, restored, tensors_of
from squeeze.quantization.request import Request
from squeeze.recipe import schemes
from squeeze.recipe.schema import Block, Quantization, QuantizeStep
from squeeze.results import MissedGoal, MixedPrecisionSearch, ModelRecord
from squeeze.runtimes.base import Execution
from squeeze.store import scratch

if TYPE_CHECKING:
    from squeeze.models.types import Model
    from squeeze.tasks.base import Task


class QuantizedModel(Block):
    """A quantized file and what was done for it.

    Attributes:
        artifact: Its path in the run's folder.
        recovery: What was done to the weights before, and for how many bits.
        notes: Choices made and why.
        in_float: Operators that stay float, with the reason.
        missed_goal: A goal that was missed; the file is the best one found.
        search: Of mixed precision.
    """

    artifact: str
    recovery: tuple[str, ...]
    notes: tuple[str, ...]
    in_float: dict[str, str]
    missed_goal: MissedGoal | None = None
    search: MixedPrecisionSearch | None = None


@dataclass(frozen=True)
class _Source:
    """What a float file is exported from to be quantized.

    Attributes:
        notes: What was done to recover accuracy.
        trained: Ranges, where they were trained.
    """

    model: "Model"
    step: Quantization
    notes: tuple[str, ...] = ()
    trained: TrainedRanges | None = None


@dataclass(frozen=True)
class Quantizer:
    """The recipe's quantize step.

    Attributes:
        name: Of the model that it makes.
        step: The recipe's.
        context: Of the run.
        before: The float model; of a step that trains, the one that it starts from.
        trained: The model that was trained for it, if the step trains.
        task: Reads the outputs.
        mixed: Which layers stay float.
        recovered: Returns the float model, better to quantize, for so many bits of the weights.
    """

    name: str
    step: Quantization
    context: RunContext
    before: ModelState
    trained: ModelState | None
    task: "Task"
    mixed: FloatLayers
    recovered: Callable[[int, str | None], Recovered]

    @classmethod
    def of(cls, context: RunContext, states: Sequence[ModelState]) -> "Quantizer | None":
        """Return the recipe's quantize step; None if it has none."""
        data, recipe = context.data, context.recipe
        trained = next((state for state in states if not state.ships), None)
        before = next(state for state in reversed(states) if state.ships)
        task = context.task.of(states[-1].model.module)  # a distilled student may have changed it
        for number, step in enumerate(recipe.steps, start=1):
            if isinstance(step, Quantization):
                where = f"steps.{number - 1}"
                mixed = FloatLayers(step, where, data.calibration, data.train, task, recipe.seed)
                name = f"{number}-{step.method}"
                better = _recovery(step, before, context)
                return cls(name, step, context, before, trained, task, mixed, better)
        return None

    @property
    def precision(self) -> str:
        """The precision of its files, for their rows."""
        return schemes.SCHEMES[self.step.scheme].precision

    @property
    def _searches(self) -> bool:
        """Whether a search decides which layers stay float."""
        return isinstance(self.step, QuantizeStep) and self.step.mixed_precision is not None

    def quantized(self, place: FilePlace) -> Outcome[QuantizedModel]:
        """Return the file for a place: made by this run or an earlier one."""
        path = self._path(place)
        key = self._key(place, path)
        name = f"quantizing of {path.name}"
        files = (path, file.description_of(path)) if path.suffix else (path,)
        step = Step(name, key, QuantizedModel, lambda: self._made(place, path, key), files)
        return perform(step, self.context)

    def candidate(self, place: FilePlace, made: QuantizedModel) -> Candidate:
        """Return the file as it is measured."""
        return Candidate(self.name, self._path(place), self.precision, None, made.in_float)

    def record(self, made: Sequence[tuple[FilePlace, Outcome[QuantizedModel]]]) -> ModelRecord:
        """Return the model's record; quantization removes neither parameters nor MACs."""
        outcomes = list({outcome.key: outcome for _, outcome in made}.values())
        first = {outcome.key: place.target.label for place, outcome in reversed(made)}
        training = None if self.trained is None else self.trained.record
        notes = [*(training.notes if training else ())]
        for outcome in outcomes:
            notes += outcome.result.recovery
            notes += [f"{first[outcome.key]}: {note}" for note in outcome.result.notes]
        missed = (outcome.result.missed_goal for outcome in outcomes)
        searches = (outcome.result.search for outcome in outcomes)
        runs = {outcome.reused_from for outcome in outcomes}
        if training is not None:
            runs.add(training.reused_from)
        return ModelRecord(
            name=self.name,
            method=self.step.method,
            params=self.before.record.params,
            macs=self.before.record.macs,
            seconds=sum(o.seconds for o in outcomes) + (training.seconds if training else 0.0),
            notes=tuple(dict.fromkeys(notes)),
            epochs=training.epochs if training else (),
            bundle=training.bundle if training else None,
            missed_goal=next(filter(None, missed), None),
            searches=tuple(filter(None, searches)),
            reused_from=None if None in runs else max(filter(None, runs), default=None),
        )

    def _path(self, place: FilePlace) -> Path:
        made_for = cpu.elsewhere(place.target.cpu)
        called = self.name if made_for is None else f"{self.name}-{made_for}"
        called = file.name_of(called, place.runtime.spec, place.batch_size)
        return self.context.folder.artifact(called)

    def _backend(self, place: FilePlace) -> Backend:
        return backends.load(schemes.backend_of(self.step.backend, place.target.runtime))

    def _key(self, place: FilePlace, path: Path) -> str:
        """Return the key of a file; a mixed-precision search depends on where it runs, too."""
        data, backend = self.context.data, self._backend(place)
        search: list[object] = []
        if self._searches:
            target = place.target
            search = [
                data.train and data.train.fingerprint,
                [target.label, target.threads, target.device, target.cpu, place.batch_size],
                fingerprints.machine(),
            ]
        return step_key(
            "quantize",
            path.name,
            [self.before.key, self.trained and self.trained.key],
            [self.step.scheme, self.step.model_dump()],
            data.calibration and data.calibration.fingerprint,
            asdict(cpu.named(place.target.cpu)),
            fingerprints.versions(place.target.runtime, f"backend {backend.name}"),
            fingerprints.code(plugins.BACKENDS, backend.name),
            fingerprints.code(plugins.RUNTIMES, place.target.runtime),
            search,
        )

    def _made(self, place: FilePlace, path: Path, key: str) -> QuantizedModel:
        """Make the file; an interrupted search resumes."""
        context = self.context
        context.progress.say(f"{path.stem}: quantizing for {place.target.label}")
        backend = self._backend(place)
        warn = context.progress.warn
        left = context.folder.resume_checkpoints(path.name, key, warn, fresh=context.fresh)
        store = TrialStore(left, key, path.suffix, warn)
        with scratch() as floats:
            request, source = self._request(place, path, floats, store)
            outcome = self.mixed.quantize(
                backend.quantize, request, place.target, place.batch_size, store
            )
        if not place.runtime.spec.runs_bundles:
            file.describe(path, self.before.model, place.batch_size)
        context.folder.drop_unfinished(path.name, key)
        notes = [_chosen(self.step.backend, backend.name), *outcome.notes]
        if source.trained is not None:
            notes.append(self._agreement(place, path, source.trained))
        return QuantizedModel(
            artifact=f"artifacts/{path.name}",
            recovery=source.notes,
            notes=tuple(notes),
            in_float=dict(outcome.facts.kept),
            missed_goal=outcome.missed_goal,
            search=outcome.search,
        )

    def _request(
        self, place: FilePlace, path: Path, floats: Path, store: TrialStore
    ) -> tuple[Request, _Source]:
        """Return what is asked of the backend: the float file and how to quantize it.

        Args:
            place: Where the file is going to run.
            path: The file to make.
            floats: A folder for the float file.
            store: Of a search, which keeps what it starts from; an interrupted one has it already.
        """
        backend, processor = self._backend(place), cpu.named(place.target.cpu)
        start = store.start() if self._searches else None
        if start is not None:
            exported = start.file
            source = _Source(restored(self.before.model, start.tensors), self.step, start.notes)
        else:
            source = self._source(backend, backend.bits(self.step, processor))
            exported = self._float_file(source, place, floats)
        if start is None and self._searches:
            tensors = tensors_of(source.model, self.before.model)
            store.keep_start(StoredStart(exported, tensors, source.notes))
        if source.trained is None:
            keep = self.mixed.keep_float(self.before.model, source.model, place.batch_size)
        else:
            keep = source.trained.keep_float(source.model, place.batch_size)
        request = Request(
            exported,
            path,
            source.step,
            self.context.data.calibration,
            self.context.progress,
            self.context.folder.log,
            source.trained,
            keep_float=keep,
            model=source.model,
            cpu=processor,
        )
        return request, source

    def _float_file(self, source: _Source, place: FilePlace, folder: Path) -> Path:
        """Return the float file, or bundle, that is quantized."""
        if place.runtime.spec.runs_bundles:
            return self.before.bundle
        log = self.context.folder.log
        return file.write(self.name, source.model, place.runtime, place.batch_size, folder, log)

    def _source(self, backend: Backend, bits: int) -> _Source:
        """Return the float model, and the ranges where they were trained."""
        step, trained, calibration = self.step, self.trained, self.context.data.calibration
        if isinstance(step, QuantizeStep):
            found, before = self.recovered(bits, backend.own_grid), self.before.model
            made_for = "" if found.model is before else f"for {bits}-bit weights: "
            return _Source(found.model, step, tuple(f"{made_for}{note}" for note in found.notes))
        if trained is None or trained.ranges is None or calibration is None:
            raise SqueezeError("was not trained", where=self.name)
        ranges = TrainedRanges(trained.model, trained.ranges, calibration)
        # folded here and not by the converters, whose names make a small LiteRT file a third larger
        model = replace(trained.model, module=folded(trained.model.module))
        step = step.model_copy(update={"weight_bits": trained.ranges.bits})
        return _Source(model, step, trained=ranges)

    def _agreement(self, place: FilePlace, path: Path, trained: TrainedRanges) -> str:
        calibration = self.context.data.calibration
        if calibration is None:
            raise SqueezeError("needs calibration data", where=self.name)
        session = place.runtime.open_session(path, Execution())
        return agreement(session, trained, calibration, self.task)


def _chosen(wanted: str, backend: str) -> str:
    """Say which backend makes a file and why."""
    if wanted != "auto":
        return f"backend {backend}: set in the recipe"
    return f"backend {backend}: the runtime's own, whose files its kernels are made for"


def _recovery(
    step: Quantization, before: ModelState, context: RunContext
) -> Callable[[int, str | None], Recovered]:
    """Return the function that makes the model to quantize, once for each number of bits."""

    @cache
    def of(bits: int, own_grid: str | None) -> Recovered:
        if not isinstance(step, QuantizeStep):
            return Recovered(before.model, ())
        calibration, progress = context.data.calibration, context.progress
        return recovered(before.model, step, calibration, progress, bits=bits, own_grid=own_grid)

    return of
