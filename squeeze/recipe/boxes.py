"""Checks of what detection and classification do not have in common; they need no data."""

from collections.abc import Iterator

from squeeze.core import specs, tasks
from squeeze.core.errors import InputError
from squeeze.recipe import dataset_formats
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import ends_at_holes, read
from squeeze.recipe.schema import (
    DataSource,
    PruneStep,
    QuantizeStep,
    Recipe,
    Target,
    TrainSettings,
)

Mistakes = Iterator[tuple[Path_, str]]


def mistakes(recipe: Recipe) -> Mistakes:
    """Yield where the data, the model's input or a training does not suit the task."""
    detects = tasks.spec_of(recipe.task).labels == "boxes"
    yield from _data(recipe, detects=detects)
    yield from _input(recipe, detects=detects)
    for index, step in read(recipe.steps):
        if detects and isinstance(step, QuantizeStep) and step.autotune is not None:
            yield ("steps", index, "autotune"), "is for classification: it counts right classes"
    for index, target in read(recipe.targets):
        yield from _nms(target, ("targets", index, "nms"), detects=detects)
    for path, settings in _trainings(recipe):
        yield from _training(settings, path, detects=detects)


@ends_at_holes
def _input(recipe: Recipe, *, detects: bool) -> Mistakes:
    spec = recipe.model.input
    if detects and spec is not None and spec.fit == "crop":
        yield (
            ("model", "input"),
            "fit: crop may cut objects off; set fit: letterbox (keeps proportions) or stretch",
        )


@ends_at_holes
def _nms(target: Target, path: Path_, *, detects: bool) -> Mistakes:
    if target.nms and not detects:
        yield path, "is for task: detection"
    elif target.nms:
        able = [name for name, spec in specs.runtimes().items() if spec.ends_at_boxes]
        if target.runtime not in able:
            yield path, f"is for {', '.join(able)}, not for {target.runtime}"


@ends_at_holes
def _data(recipe: Recipe, *, detects: bool) -> Mistakes:
    for role in ("train", "validation", "calibration"):
        source = getattr(recipe.data, role)
        if not isinstance(source, DataSource):
            continue
        path = ("data", role, "format")
        labels = _labels(source.format)
        if detects and labels == "classes":
            allowed = ", ".join(dataset_formats.labelled("boxes"))
            yield path, f"'{source.format}' has no boxes; task: detection takes {allowed}"
        elif not detects and labels == "boxes":
            yield path, f"'{source.format}' has boxes; set task: detection"


def _labels(name: str) -> str | None:
    """Return what the labels of a format are; None for a format that cannot be used."""
    try:
        return specs.data_format(name).labels
    except InputError:
        return None


def _trainings(recipe: Recipe) -> Iterator[tuple[Path_, TrainSettings]]:
    if recipe.baseline is not None:
        yield ("baseline", "train"), recipe.baseline.train
    for index, step in read(recipe.steps):
        if isinstance(step, PruneStep) and step.finetune is not None:
            yield ("steps", index, "finetune"), step.finetune
        elif isinstance(step, TrainSettings):
            yield ("steps", index), step


@ends_at_holes
def _training(settings: TrainSettings, path: Path_, *, detects: bool) -> Mistakes:
    augment = settings.augment
    for key in augment.classes_only if detects else augment.boxes_only:
        labels = "one class each" if detects else "boxes"
        yield (*path, "augment", key), f"is for images with {labels}"
    for key in ("label_smoothing", "focal_gamma") if detects else ():
        if getattr(settings, key):
            yield (*path, key), "is for classification; the losses of detectors have their own"
    if detects and settings.balance_classes:
        yield (*path, "balance_classes"), "is for images with one class each"
