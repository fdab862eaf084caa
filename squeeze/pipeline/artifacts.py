"""The files that ship: every model exported for every target, quantized, with suppression."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squeeze.core import plugins
from squeeze.exporting import file
from squeeze.measure.target import Candidate
from squeeze.pipeline import fingerprints
from squeeze.pipeline.models import ModelState
from squeeze.pipeline.places import FilePlace, places
from squeeze.pipeline.quantizing import QuantizedModel, Quantizer
from squeeze.pipeline.steps import Outcome, RunContext, Step, perform, step_key
from squeeze.recipe import schemes
from squeeze.recipe.schema import Block, Target
from squeeze.results import ModelRecord, Row
from squeeze.store import checksums
from squeeze.tasks.detection import nms_file

if TYPE_CHECKING:
    from pathlib import Path

    from squeeze.models.types import Model

_TRIED = 8
"""Images on which a file with suppression inside is compared with the raw one."""


@dataclass(frozen=True)
class Artifacts:
    """The files of a run, by target and batch size, skipped places and quantized models."""

    candidates: Mapping[tuple[str, int], tuple[Candidate, ...]]
    skipped: tuple[Row, ...]
    records: tuple[ModelRecord, ...]

    @property
    def paths(self) -> "Iterator[Path]":
        """Yield where the files lie."""
        return (each.path for made in self.candidates.values() for each in made)


class ExportedFile(Block):
    """An exported file, by its path in the run's folder."""

    artifact: str


class SuppressedFile(Block):
    """A file with suppression inside.

    Attributes:
        artifact: Its path in the run's folder.
        detections: How many were compared with those of the raw file.
        shared: Share of them that decoding the raw file's outputs finds too.
    """

    artifact: str
    detections: int
    shared: float


def make(context: RunContext, states: Sequence[ModelState]) -> Artifacts:
    """Export every model for every target and apply the quantize step.

    Args:
        context: Of the run.
        states: Of the torch module, the baseline first.

    Raises:
        SqueezeError: An exporter or a quantizer failed.
    """
    shipping = [state for state in states if state.ships]
    quantizer = Quantizer.of(context, states)
    candidates: dict[tuple[str, int], tuple[Candidate, ...]] = {}
    skipped, quantized = list[Row](), list[tuple[FilePlace, Outcome[QuantizedModel]]]()
    for place in places(context.recipe):
        reason = place.unavailable
        if reason is not None:
            skipped.append(place.without(shipping[-1].record.name, reason))
            continue
        precision = _float_precision(place.target, quantizer)
        made = [_exported(state, place, precision, context) for state in shipping]
        if quantizer is not None:
            reason = schemes.left_out(quantizer.step, place.target)
            if reason is None:
                outcome = quantizer.quantized(place)
                quantized.append((place, outcome))
                made.append(quantizer.candidate(place, outcome.result))
            else:
                reason += "; the float model above ships here"
                skipped.append(place.without(quantizer.name, reason))
        if place.target.nms:
            made = [_suppressed(each, place, shipping[-1].model, context) for each in made]
        candidates[place.target.label, place.batch_size] = tuple(made)
    records = () if quantizer is None else (quantizer.record(quantized),)
    return Artifacts(candidates, tuple(skipped), records)


def _float_precision(target: Target, quantizer: Quantizer | None) -> str:
    """Return the precision of models before the quantize step."""
    made = None if quantizer is None else quantizer.precision
    if not FilePlace(target, 1).runtime.spec.runs_bundles or target.precision in {"auto", made}:
        return "fp32"
    return target.precision


def _exported(
    state: ModelState, place: FilePlace, precision: str, context: RunContext
) -> Candidate:
    """Return the file of a float model; PyTorch runs the step's bundle."""
    name, runtime = state.record.name, place.runtime
    if runtime.spec.runs_bundles:
        return Candidate(name, state.bundle, precision, state.model)
    called = file.name_of(name, runtime.spec, place.batch_size)
    path = context.folder.artifact(called)

    def export() -> ExportedFile:
        title = f"exporting {name} for {place.target.runtime}"
        with context.progress.task(title, 1) as advance:
            file.write(
                name, state.model, runtime, place.batch_size, path.parent, context.folder.log
            )
            advance()
        return ExportedFile(artifact=f"artifacts/{called}")

    key = step_key(
        "export",
        state.key,
        called,
        fingerprints.versions(runtime.name),
        fingerprints.code(plugins.RUNTIMES, runtime.name),
    )
    files = (path, file.description_of(path))
    perform(Step(f"export of {called}", key, ExportedFile, export, files), context)
    return Candidate(name, path, precision, state.model)


def _suppressed(
    candidate: Candidate, place: FilePlace, model: "Model", context: RunContext
) -> Candidate:
    """Write a file with suppression inside beside the raw one.

    Args:
        candidate: The raw file.
        place: Where it runs.
        model: What quantized files were made from.
        context: A few images of its validation set are tried.

    Raises:
        SqueezeError: Its detections are not those of decoding the raw file's outputs.
    """
    validation, path = context.data.validation, nms_file.path_of(candidate.path)
    tried = validation.take(range(min(_TRIED, len(validation))))

    def suppress() -> SuppressedFile:
        images, _ = tried.batch(range(len(tried)))
        with context.progress.task(f"suppression inside {candidate.name}", 1) as advance:
            done = nms_file.write(candidate.path, candidate.model or model, images)
            advance()
        context.progress.say(
            f"{path.name}: {done.shared:.1%} of {done.detections} detections in "
            f"{len(images)} images are those of {candidate.path.name}"
        )
        where = str(path.relative_to(context.folder.path))
        return SuppressedFile(artifact=where, detections=done.detections, shared=done.shared)

    key = step_key(
        "suppress",
        path.name,
        checksums.of_file(candidate.path),
        (candidate.model or model).input.model_dump(),
        tried.fingerprint,
        fingerprints.versions(place.target.runtime),
    )
    files = (path, file.description_of(path))
    perform(Step(f"suppression in {path.name}", key, SuppressedFile, suppress, files), context)
    return replace(candidate, with_nms=path)
