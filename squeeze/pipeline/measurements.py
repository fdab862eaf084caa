"""Measure the files of every target; figures of equal files on an equal machine are reused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from squeeze.core import cpu, plugins
from squeeze.core.errors import SqueezeError
from squeeze.exporting import file
from squeeze.measure import environment
from squeeze.measure.target import Bench, Candidate, measure
from squeeze.models import bundle
from squeeze.pipeline import fingerprints
from squeeze.pipeline.artifacts import Artifacts
from squeeze.pipeline.models import ModelState
from squeeze.pipeline.places import FilePlace, places
from squeeze.pipeline.steps import Outcome, RunContext, Step, perform, step_key
from squeeze.recipe.schema import Block
from squeeze.results import PictureBlock, Provenance, Row
from squeeze.store import checksums

if TYPE_CHECKING:
    from squeeze.measure.evaluator import Predictions


class MeasuredPlace(Block):
    """The figures of all models on one target and batch size.

    Attributes:
        pictures: Images on which the first and the last model differ; of the first target only.
    """

    rows: tuple[Row, ...]
    pictures: tuple[PictureBlock, ...] = ()


@dataclass(frozen=True)
class Measurements:
    """The rows of a run, skipped ones last, and its pictures."""

    rows: tuple[Row, ...]
    pictures: tuple[PictureBlock, ...]


def measure_all(
    context: RunContext, states: Sequence[ModelState], artifacts: Artifacts
) -> Measurements:
    """Measure every target, or reuse what an earlier run has measured on such a machine.

    Args:
        context: Of the run; with ``remeasure`` nothing is reused.
        states: The models, which know how the outputs of their files are read.
        artifacts: The files.

    Raises:
        SqueezeError: An export's outputs are not those of the torch model.
    """
    task, data = context.task, context.data
    readers = {state.record.name: task.of(state.model.module) for state in states}
    readers |= {made.name: readers[states[-1].record.name] for made in artifacts.records}
    bench = Bench(data.validation, task, context.progress, context.folder.path, readers)
    rows, pictures = list[Row](), tuple[PictureBlock, ...]()
    first = True
    for place in places(context.recipe):
        candidates = artifacts.candidates.get((place.target.label, place.batch_size), ())
        if candidates:
            found = _measured(place, candidates, bench, context, states, pictured=first)
            rows += _rows(found)
            pictures, first = pictures + found.result.pictures, False
    check_parity(rows)
    return Measurements((*rows, *artifacts.skipped), pictures)


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
                hint="the exporter changed the model: please report the architecture",
            )


def _measured(
    place: FilePlace,
    candidates: Sequence[Candidate],
    bench: Bench,
    context: RunContext,
    states: Sequence[ModelState],
    *,
    pictured: bool,
) -> Outcome[MeasuredPlace]:
    def work() -> MeasuredPlace:
        provenance = _here_and_now()
        rows, predictions = measure(place.target, place.batch_size, list(candidates), bench)
        stamped = tuple(row.model_copy(update={"provenance": provenance}) for row in rows)
        pictures = tuple(_changed(predictions, bench)) if pictured else ()
        return MeasuredPlace(rows=stamped, pictures=pictures)

    target, validation, keys = (
        place.target,
        bench.validation,
        {s.record.name: s.key for s in states},
    )
    cuda = environment.cuda_device() if target.device == "cuda" else None
    key = step_key(
        "measure",
        [target.model_dump(mode="json"), place.batch_size, pictured],
        [[*_content(each, bench.root), keys.get(each.name)] for each in candidates],
        [context.recipe.task, validation.fingerprint, validation.spec.model_dump(mode="json")],
        [fingerprints.machine(), cuda],
        [fingerprints.versions(target.runtime), place.runtime.version()],
        fingerprints.code(plugins.RUNTIMES, target.runtime),
    )
    name = f"measurement of {target.label}, batch {place.batch_size}"
    step = Step(name, key, MeasuredPlace, work)
    return perform(step, context, redo=context.remeasure, describe=_when)


def _content(candidate: Candidate, root: Path) -> list[object]:
    """Return what decides the figures of a file: its bytes, and what rows say of it."""
    path = candidate.path
    paths = [path] if path.is_file() else [path / bundle.ARCHITECTURE, path / bundle.WEIGHTS]
    with_nms = candidate.with_nms and str(candidate.with_nms.relative_to(root))
    return [
        candidate.name,
        str(path.relative_to(root)),
        [checksums.of_file(each) for each in paths],
        candidate.precision,
        dict(candidate.kept),
        with_nms,
        candidate.model is not None,
    ]


def _here_and_now() -> Provenance:
    return Provenance(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=cpu.host().model,
        cores=psutil.cpu_count(logical=True) or 1,
        load_average=round(psutil.getloadavg()[0], 2),
    )


def _when(measured: MeasuredPlace) -> str:
    """Say when and where figures were taken, for the log."""
    provenance = measured.rows[0].provenance
    if provenance is None:
        return ""
    return (
        f", measured {provenance.measured_at} on {provenance.machine} "
        f"({provenance.cores} cores, load {provenance.load_average:g})"
    )


def _rows(found: Outcome[MeasuredPlace]) -> list[Row]:
    """Return the rows; those of an earlier run say which."""
    rows = []
    for row in found.result.rows:
        where = row.provenance
        if where is not None and found.reused_from is not None:
            where = where.model_copy(update={"reused_from": found.reused_from})
        rows.append(row.model_copy(update={"provenance": where}))
    return rows


def _changed(predictions: "dict[str, Predictions]", bench: Bench) -> Iterable[PictureBlock]:
    """Return the images on which the first and the last model differ."""
    names = list(predictions)
    if len(names) < 2:  # noqa: PLR2004  (a first and a last)
        return ()
    before, after = predictions[names[0]], predictions[names[-1]]
    return bench.task.changed(before, after, bench.validation)
