"""Open the sets of a run, and check that they can be used together."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError
from squeeze.data import checks, class_names, preprocessing, synthetic
from squeeze.data.samples import CorruptImageError, Samples
from squeeze.data.splits import Split
from squeeze.recipe import dataset_formats
from squeeze.recipe.schema import (
    Calibration,
    CalibrationDraw,
    DataBlock,
    DataSource,
    InputSpec,
    SyntheticCalibration,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from squeeze.core.types import Progress


@dataclass(frozen=True)
class Data:
    """The three sets, checked."""

    validation: Split
    train: Split | None
    calibration: Split | None
    classes: Sequence[str]


@dataclass(frozen=True)
class Opening:
    """How to open sets: where paths start, the model's input, the seed.

    Attributes:
        classes: What the model's outputs are, in order; empty where that is not known. A recipe's
            ``classes`` take precedence.
        module: The float model, which synthetic calibration images are fitted to.
    """

    folder: Path
    spec: InputSpec
    seed: int
    progress: "Progress"
    module: "nn.Module | None" = None
    classes: Sequence[str] = ()


def open_data(block: DataBlock, opening: Opening, *, trains: bool, calibrates: bool) -> Data:
    """Open, scan and check the sets that the run needs.

    Args:
        block: The recipe's data block.
        opening: Shared settings.
        trains: Whether anything trains.
        calibrates: Whether anything calibrates.

    Returns:
        The sets; ``spec`` of each says how images are prepared, also where the opening's left it to
        their size.

    Raises:
        InputError: Empty or one-class data, corrupt images, sets that disagree or overlap.
    """
    validation = _open(block.validation, "validation", opening, keep=trains)
    validation = replace(validation, spec=preprocessing.settled(opening.spec, validation.sizes))
    opening = replace(opening, spec=validation.spec)
    draw = block.calibration if calibrates else None
    from_train = isinstance(draw, CalibrationDraw) and draw.source == "train"
    train = None
    if block.train is not None and (trains or from_train):
        train = _open(block.train, "train", opening, keep=trains)
    calibration, validation = _calibration(draw, train, validation, opening)
    if train is not None:
        checks.same_classes(train, validation)
        train = checks.without_overlap(
            train, validation, drop=block.on_overlap == "drop_from_train"
        )
    if calibration is not None:
        calibration = _checked(calibration, validation, opening, from_train=from_train)
    return Data(validation, train, calibration, validation.samples.classes)


def _checked(calibration: Split, validation: Split, opening: Opening, *, from_train: bool) -> Split:
    """Return the calibration set without samples of validation, which only ``train`` may share."""
    if from_train:
        hidden = set(validation.digests)
        kept = [p for p, digest in enumerate(calibration.digests) if digest not in hidden]
        calibration = calibration.take(kept)
    else:
        checks.refuse_overlap("calibration", calibration, validation)
    calibration = checks.enough(calibration)
    for note in calibration.notes:
        opening.progress.say(note)
    return calibration


def _calibration(
    block: Calibration | None, train: Split | None, validation: Split, opening: Opening
) -> tuple[Split | None, Split]:
    """Return the calibration set, and validation without what was drawn from it."""
    if isinstance(block, CalibrationDraw):
        return _draw(block, train, validation, opening.seed)
    if isinstance(block, SyntheticCalibration):
        return _synthetic(block, opening), validation
    if block is None:
        return None, validation
    return _open(block, "calibration", opening, keep=False), validation


def _open(source: DataSource, role: str, opening: Opening, *, keep: bool) -> Split:
    open_samples = dataset_formats.opener(source.format)
    part = source.split or ("validation" if role == "validation" else "train")
    where = f"data.{role}"
    for place, what in dataset_formats.wrong_args(source):
        raise InputError(what, where=".".join((where, *map(str, place))))
    samples: Samples = open_samples(source, opening.folder, part)
    if len(samples) == 0:
        raise InputError("is empty", where=where)
    samples = class_names.in_order(samples, source.classes or (), opening.classes, where)
    chosen = np.arange(len(samples))
    if source.samples is not None:
        if source.samples > len(samples):
            raise InputError(
                f"asks for {source.samples} samples and has {len(samples)}",
                where=f"{where}.samples",
            )
        drawn = np.random.default_rng(opening.seed).permutation(len(samples))
        chosen = np.sort(drawn[: source.samples])
    indices, digests, corrupt = _scan(samples, chosen, role, opening.progress)
    notes = checks.handle_corrupt(corrupt, len(chosen), source.on_corrupt, where)
    notes += tuple(f"{where}: {note}" for note in getattr(samples, "notes", ()))
    origin = "" if source.samples is None else f"drawn with seed {opening.seed}"
    split = Split(samples, indices, digests, opening.spec, keep, notes, origin)
    return checks.check_labels(split, where, only_looked_at=role == "calibration")


def _synthetic(block: SyntheticCalibration, opening: Opening) -> Split:
    if opening.module is None:
        raise InputError("needs the model", where="data.calibration")
    made = synthetic.make(block, opening.module, opening.spec, opening.seed, opening.progress)
    every = range(len(made))
    digests = [made.digest(index) for index in every]
    drawn = f"of SYNTHETIC images, made with seed {opening.seed},"
    return Split(made, every, digests, opening.spec, notes=made.notes, drawn=drawn)


def _scan(
    samples: Samples, chosen: "NDArray[np.int64]", role: str, progress: "Progress"
) -> tuple[list[int], list[bytes], list[str]]:
    """Decode and hash every sample once."""
    indices, digests, corrupt = list[int](), list[bytes](), list[str]()

    def look(index: int) -> bytes | CorruptImageError:
        try:
            return samples.digest(index)
        except CorruptImageError as error:
            return error

    with (
        progress.task(f"reading {role} data", len(chosen)) as advance,
        ThreadPoolExecutor(2) as pool,
    ):
        for index, found in zip(chosen.tolist(), pool.map(look, chosen.tolist()), strict=True):
            advance()
            if isinstance(found, bytes):
                indices.append(index)
                digests.append(found)
            else:
                corrupt.append(str(found))
    return indices, digests, corrupt


def _draw(
    draw: CalibrationDraw, train: Split | None, validation: Split, seed: int
) -> tuple[Split, Split]:
    pool = validation if draw.source == "validation" else train
    available = 0 if pool is None else len(pool)
    takes_all = draw.source == "validation" and draw.samples == available
    if pool is None or draw.samples > available or takes_all:
        raise InputError(
            f"asks for {draw.samples} samples, data.{draw.source} has {available}"
            + (" and would have none left" if takes_all else ""),
            where="data.calibration.samples",
        )
    order = np.random.default_rng(seed).permutation(len(pool))
    drawn = replace(
        pool.take(np.sort(order[: draw.samples]).tolist()),
        keep=False,
        drawn=f"drawn from {draw.source} with seed {seed}",
    )
    if draw.source == "train":
        return drawn, validation
    return drawn, pool.take(np.sort(order[draw.samples :]).tolist())
