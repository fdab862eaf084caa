"""What makes sets unusable: corrupt images, labels that teach nothing, sets that overlap."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import count_boxes
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.splits import Split

_SHOWN = 5
_FEWEST = 8
"""Calibration samples below which there is a warning."""


def handle_corrupt(corrupt: Sequence[str], total: int, rule: str, where: str) -> tuple[str, ...]:
    """Return a note about images that cannot be read.

    Raises:
        InputError: The rule is ``refuse``, or none can be read.
    """
    if not corrupt:
        return ()
    text = f"{len(corrupt)} of {total} images cannot be read: " + "; ".join(corrupt[:_SHOWN])
    text += "; …" if len(corrupt) > _SHOWN else ""
    if rule == "refuse" or len(corrupt) == total:
        raise InputError(
            text, where=where, hint="fix or remove them, or set on_corrupt: skip to leave them out"
        )
    return (f"{where}: skipped, {text}",)


def check_labels(split: "Split", where: str, *, only_looked_at: bool = False) -> "Split":
    """Make sure that there is something to learn, and return the split with notes about it.

    Args:
        split: Just opened.
        where: What messages call it.
        only_looked_at: Nothing is learned from its labels, so one class is enough.

    Raises:
        InputError: One class only, no boxes at all, labels out of range, or a way to fit images
            that may cut boxes off.
    """
    if split.has_boxes:
        return _check_boxes(split, where, only_looked_at=only_looked_at)
    found = np.unique(split.class_indices)
    if len(found) == 1 and not only_looked_at:
        name = split.samples.classes[int(found[0])]
        raise InputError(
            f"has one class only ('{name}'); nothing can be learned or measured", where=where
        )
    _check_range(found, len(split.samples.classes), where)
    if only_looked_at:
        return split
    counts = np.bincount(split.class_indices, minlength=len(split.samples.classes))
    return _without(counts.tolist(), "images", split, where)


def _without(counts: Sequence[int], things: str, split: "Split", where: str) -> "Split":
    """Return the split with a note about classes that it has nothing of."""
    classes = split.samples.classes
    lacking = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if not lacking:
        return split
    shown = ", ".join(lacking[:_SHOWN]) + (", …" if len(lacking) > _SHOWN else "")
    many = f" ({len(lacking)} of {len(classes)} classes)" if len(lacking) > _SHOWN else ""
    return replace(split, notes=(*split.notes, f"{where}: no {things} of {shown}{many}"))


def _check_range(found: "NDArray[np.int64]", classes: int, where: str) -> None:
    if found.min() < 0 or found.max() >= classes:
        raise InputError(
            f"has labels {found.min()} to {found.max()} for {classes} classes", where=where
        )


def _check_boxes(split: "Split", where: str, *, only_looked_at: bool) -> "Split":
    if split.spec.fit == "crop":
        raise InputError(
            "fit: crop may cut objects off",
            where="model.input",
            hint="set model.input.fit: letterbox (keeps proportions) or stretch",
        )
    if only_looked_at:
        return split
    classes = split.samples.classes
    found = np.concatenate([boxes.classes for boxes in split.truth])
    if len(found) == 0:
        raise InputError(
            f"has {len(split)} images and no boxes at all; nothing can be learned or measured",
            where=where,
        )
    _check_range(found, len(classes), where)
    return _without(count_boxes(split.truth, len(classes)).tolist(), "boxes", split, where)


def same_classes(train: "Split", validation: "Split") -> None:
    """Make sure that a class index means the same in both.

    Raises:
        InputError: It does not.
    """
    left, right = list(train.samples.classes), list(validation.samples.classes)
    if left != right:
        odd = sorted(set(left) ^ set(right))[:_SHOWN]
        raise InputError(
            f"has {len(left)} classes and data.validation {len(right)}; not in both: "
            f"{', '.join(odd)}" + ("" if odd else "none, but their order differs"),
            where="data.train",
            hint="name them by 'classes' in both",
        )


def _shared(split: "Split", validation: "Split") -> list[int]:
    held_out = set(validation.digests)
    return [position for position, digest in enumerate(split.digests) if digest in held_out]


def refuse_overlap(role: str, split: "Split", validation: "Split") -> None:
    """Make sure that no sample of a split is in validation too.

    Raises:
        InputError: One is.
    """
    shared = _shared(split, validation)
    if shared:
        twins = {digest: position for position, digest in enumerate(validation.digests)}
        pairs = [
            f"{split.name(p)} = {validation.name(twins[split.digests[p]])}" for p in shared[:_SHOWN]
        ]
        raise InputError(
            f"{len(shared)} samples are also in data.validation (same content): {'; '.join(pairs)}",
            where=f"data.{role}",
            hint="keep them apart"
            + (", or set data.on_overlap: drop_from_train" if role == "train" else ""),
        )


def without_overlap(train: "Split", validation: "Split", *, drop: bool) -> "Split":
    """Return the training samples that are not in validation.

    Raises:
        InputError: Some are, and they are not to be dropped.
    """
    if not drop:
        refuse_overlap("train", train, validation)
        return train
    shared = set(_shared(train, validation))
    if not shared:
        return train
    kept = train.take([p for p in range(len(train)) if p not in shared])
    note = f"data.train: {len(shared)} samples that are also in validation were dropped"
    return replace(kept, notes=(*kept.notes, note))


def enough(calibration: "Split") -> "Split":
    """Return the calibration split with a warning where it is small.

    Raises:
        InputError: It is empty.
    """
    count = len(calibration)
    if not count:
        raise InputError(
            "has no samples left: all are in data.validation too", where="data.calibration"
        )
    if count >= _FEWEST:
        return calibration
    note = (
        f"data.calibration: {count} sample{'s' * (count > 1)} only. Activation ranges from so few "
        "are a matter of chance; use 100 or more"
    )
    return replace(calibration, notes=(*calibration.notes, note))
