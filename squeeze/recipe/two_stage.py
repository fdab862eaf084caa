"""Checks of what two-stage detectors cannot do; they need no torch."""

from collections.abc import Iterator
from pathlib import Path

from squeeze.core import plugins, specs, text
from squeeze.recipe import records
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import read
from squeeze.recipe.schema import DistillStep, ModelBlock, PruneStep, QatStep, QuantizeStep, Recipe

Mistakes = Iterator[tuple[Path_, str]]

BUILDS = ("torchvision:fasterrcnn_", "torchvision:maskrcnn_")

NO_TRAINING = (
    "a two-stage detector cannot be trained here: its losses sample from the proposals inside it, "
    "and only its outputs are known; fine-tune it with torchvision, and use those weights"
)
NO_FP16 = (
    "a two-stage detector computes proposals in pixels, which fp16 rounds to halves beyond 512; "
    "use static_int8, which leaves that part in float"
)
_NO_NMS = "a two-stage detector's file holds the suppression of proposals only"


def mistakes(recipe: Recipe, folder: Path) -> Mistakes:
    """Yield what a recipe does that torchvision's two-stage detectors do not allow."""
    if not _build(recipe.model, folder).startswith(BUILDS):
        return
    for index, target in read(recipe.targets):
        spec = specs.runtimes().get(target.runtime)
        if spec is not None and not spec.suppresses:
            yield ("targets", index, "runtime"), cannot_suppress(target.runtime)
        elif target.nms:
            yield ("targets", index, "nms"), _NO_NMS
    for index, step in read(recipe.steps):
        if isinstance(step, QuantizeStep) and step.scheme == "fp16" and _in_files(recipe):
            yield ("steps", index, "scheme"), NO_FP16
    yield from ((path, NO_TRAINING) for path in _trainings(recipe))


def cannot_suppress(runtime: str) -> str:
    """Return the sentence about a runtime whose graphs cannot suppress boxes inside."""
    able = [name for name, spec in specs.runtimes().items() if spec.suppresses]
    return (
        "a two-stage detector suppresses proposals and cuts out features inside its graph, and "
        f"{runtime} has operators for neither; its runtimes are {text.listed(able, 'and')}"
    )


def _in_files(recipe: Recipe) -> bool:
    """Whether a target gets a file and not a bundle."""
    known = specs.runtimes()
    return any(
        target.runtime in known
        and known[target.runtime].suppresses
        and not known[target.runtime].runs_bundles
        for _, target in read(recipe.targets)
    )


def _trainings(recipe: Recipe) -> Iterator[Path_]:
    """Yield where the recipe trains, or needs the loss."""
    if recipe.baseline is not None:
        yield ("baseline", "train")
    for index, step in read(recipe.steps):
        if isinstance(step, DistillStep | QatStep):
            yield ("steps", index)
        elif isinstance(step, PruneStep):
            keys = [key for key in ("finetune", "sparse") if getattr(step, key) is not None]
            keys += ["importance"] * _takes_loss(step)
            yield from (("steps", index, key) for key in keys)


def _takes_loss(step: PruneStep) -> bool:
    if step.importance not in plugins.names(plugins.IMPORTANCE):
        return False
    return bool(plugins.load(plugins.IMPORTANCE, step.importance).IN_LOSS_UNITS)


def _build(block: ModelBlock, folder: Path) -> str:
    """Return the reference of the model's factory, also of a bundle."""
    record = folder / (block.stored_weights or "") / "architecture.json"
    if block.stored_weights is None or not record.is_file():
        return block.build or ""
    return str(records.read_mapping(record).get("build", ""))
