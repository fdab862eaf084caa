"""Cross-checks of a valid recipe that need neither torch nor the data.

Each check is a function from a recipe to mistakes; ``problems`` runs them all.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import model_names, permission, plugins, reading, specs, tasks
from squeeze.core.errors import Problem, RecipeError, unknown_name
from squeeze.recipe import (
    boxes,
    bundles,
    calibrators,
    dataset_formats,
    explain,
    losses,
    pruning,
    quantization,
    targets,
    two_stage,
    untrained,
)
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import ends_at_holes, is_hole, read
from squeeze.recipe.schema import (
    LIBRARIES,
    RANDOM,
    AccuracyGate,
    CalibrationDraw,
    DataSource,
    DistillStep,
    Gate,
    ModelBlock,
    PruneStep,
    Quantization,
    Recipe,
    Step,
    SyntheticCalibration,
    TrainSettings,
)

if TYPE_CHECKING:
    from squeeze.recipe.loaded import LoadedRecipe

Mistakes = Iterator[tuple[Path_, str]]

_NO_TRANSFORMERS = "transformers is not installed; pip install 'squeeze[transformers]'"
_NO_WAY_BACK = (
    "is an exported file, float or quantized, and steps change torch models: give the bundle or "
    "the factory and weights that it was made from (squeeze inspect, eval and bench take it as it "
    "is)"
)


def check(loaded: "LoadedRecipe") -> None:
    """Raise if the recipe cannot work.

    Raises:
        RecipeError: With every mistake, each at its place in the file.
    """
    found = [
        Problem(loaded.source.where(path), what)
        for path, what in mistakes(loaded.recipe, loaded.folder)
    ]
    if found:
        raise RecipeError(explain.arranged(found))


def mistakes(recipe: Recipe, folder: Path) -> list[tuple[Path_, str]]:
    """Return every mistake of a recipe, which may have holes, with its place."""
    parts = (_models, _data, _boxes, _steps, _names, targets.mistakes, _gates)
    return [
        (path, f"{'.'.join(map(str, path))}: {what}")
        for part in parts
        for path, what in ends_at_holes(part)(recipe, folder)
    ]


def _models(recipe: Recipe, folder: Path) -> Mistakes:
    yield from _model(recipe.model, ("model",), folder)
    if recipe.baseline is None:
        yield from _trained(recipe.model, ("model",), folder, may_train=True)
    for index, step in read(recipe.steps):
        for key in ("teacher", "student"):
            block = getattr(step, key, None)
            if isinstance(block, ModelBlock):
                yield from _model(block, ("steps", index, key), folder)
        teacher = getattr(step, "teacher", None)
        if isinstance(teacher, ModelBlock):
            yield from _trained(teacher, ("steps", index, "teacher"), folder)


@ends_at_holes
def _trained(block: ModelBlock, path: Path_, folder: Path, *, may_train: bool = False) -> Mistakes:
    """Yield which part of a model would be random without the recipe asking for it."""
    what = untrained.reason(block, folder)
    if what is not None:
        yield path, what + untrained.cure(trains=may_train)


@ends_at_holes
def _model(block: ModelBlock, path: Path_, folder: Path) -> Mistakes:
    if is_hole(block.weights) and block.build is not None:
        yield from _reference(block.build, (*path, "build"), folder)
    absent = {
        key: _absent(named, folder)
        for key in ("weights", "backbone_weights")
        if (named := getattr(block, key)) not in {None, RANDOM}
    }
    for key, problem in absent.items():
        if problem is not None:
            yield (*path, key), problem
    stored = block.stored_weights
    weights = folder / stored if stored and not stored.startswith("package:") else None
    if weights is not None and absent["weights"] is not None:
        if block.build is not None:
            yield from _reference(block.build, (*path, "build"), folder)
        return
    if weights is not None and reading.is_folder(weights):
        yield from _folder(block, weights, path, folder)
        return
    if block.build is None:
        yield path, "needs 'build' (a model factory) or 'weights' that name a bundle folder"
    else:
        yield from _reference(block.build, (*path, "build"), folder)
    in_library = (block.build or "").startswith(LIBRARIES)
    if block.input is None and path == ("model",) and not in_library:
        yield path, "needs 'input', for example {shape: [3, 224, 224]}"


def _folder(block: ModelBlock, weights: Path, path: Path_, folder: Path) -> Mistakes:
    """Check a folder of weights: a bundle's, or what transformers saved."""
    if (weights / "architecture.json").is_file():
        if block.build is not None:
            yield from _reference(block.build, (*path, "build"), folder)
        yield from _inside(path, bundles.mistakes(block, weights, folder))
        return
    if not (weights / "config.json").is_file():
        yield (
            (*path, "weights"),
            f"{block.weights} is a folder without architecture.json, so it is not a bundle",
        )
        return
    if find_spec("transformers") is None:
        yield (*path, "weights"), _NO_TRANSFORMERS
    if block.build is not None:
        yield (*path, "build"), f"{block.weights} says what to build: leave this out"
    if block.input is None and path == ("model",):
        yield path, "needs 'input', for example {shape: [3, 640, 640], fit: stretch}"


def _absent(weights: str, folder: Path) -> str | None:
    """Return why there is no such file of weights, or None."""
    if weights.endswith(specs.file_suffixes()):
        return f"{weights} {_NO_WAY_BACK}"
    if not weights.startswith("package:"):
        if reading.exists(folder / weights):
            return None
        return f"no such file or folder: {reading.shortened(weights)}"
    package, _, inner = weights.removeprefix("package:").partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None:
        return f"the Python package '{package}' is not installed"
    if not any((Path(p) / inner).is_file() for p in spec.submodule_search_locations or ()):
        return f"the package '{package}' has no file '{inner}'"
    return None


def _reference(text: str, path: Path_, folder: Path) -> Mistakes:
    head, colon, tail = text.rpartition(":")
    if text.endswith(specs.file_suffixes()):
        yield path, f"{text} {_NO_WAY_BACK}"
    elif not colon or not head or not tail:
        yield path, model_names.malformed(text)
    elif permission.in_standard_library(text):
        yield path, f"{text} is in Python's standard library, which builds neither models nor data"
    elif head.endswith(".py") and not reading.is_file(folder / head):
        yield path, f"no such file: {reading.shortened(head)}"
    elif head == "builtin" or (head in {"torchvision", "timm"} and model_names.of_source(head)):
        known = model_names.of_source(head)
        # what follows a dot is a tag of timm's weights; checking it would take an import of timm
        name = tail.partition(".")[0] if head == "timm" else tail
        if name not in known and path[0] != "data":
            yield path, unknown_name(f"{head} model", name, known)
    elif head == "timm" and find_spec("timm") is None:
        yield path, "timm is not installed; pip install 'squeeze[timm]'"
    elif head == "transformers" and find_spec("transformers") is None:
        yield path, _NO_TRANSFORMERS


def _data(recipe: Recipe, folder: Path) -> Mistakes:
    for role in ("train", "validation", "calibration"):
        source = getattr(recipe.data, role)
        if isinstance(source, DataSource):
            yield from _source(source, ("data", role), folder)
        if isinstance(source, CalibrationDraw):
            yield from _draw(source, recipe, ("data", role, "from"))
    if recipe.baseline is not None and recipe.data.train is None:
        yield ("baseline", "train"), "needs data.train"
    if isinstance(recipe.data.calibration, SyntheticCalibration):
        yield from _synthetic(recipe)


@ends_at_holes
def _draw(source: CalibrationDraw, recipe: Recipe, path: Path_) -> Mistakes:
    if getattr(recipe.data, source.source) is None:
        yield path, f"draws from '{source.source}', but data.{source.source} is not given"


def _synthetic(recipe: Recipe) -> Mistakes:
    """Yield what synthetic images cannot do: they have no labels, and fit the loaded model only."""
    path = ("data", "calibration")
    if recipe.baseline is not None:
        yield path, "is synthetic, which knows no trained baseline; use {from: train}"
    for index, step in read(recipe.steps):
        mixed = getattr(step, "mixed_precision", None)
        by_label = mixed is not None and mixed.metric != "agreement" and recipe.data.train is None
        if by_label or getattr(step, "autotune", None) is not None:
            key = "mixed_precision" if by_label else "autotune"
            yield ("steps", index, key), "measures on labels, which synthetic images do not have"


@ends_at_holes
def _source(source: DataSource, path: Path_, folder: Path) -> Mistakes:
    yield from _inside(path, dataset_formats.mistakes(source))
    if source.path is not None and not reading.exists(folder / source.path):
        yield (*path, "path"), f"no such folder: {reading.shortened(source.path)}"
    if source.annotations is not None and not reading.is_file(folder / source.annotations):
        yield (*path, "annotations"), f"no such file: {reading.shortened(source.annotations)}"
    if source.build is not None:
        yield from _reference(source.build, (*path, "build"), folder)


def _boxes(recipe: Recipe, folder: Path) -> Mistakes:
    yield from boxes.mistakes(recipe)
    yield from two_stage.mistakes(recipe, folder)


def _steps(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    quantized_at: int | None = None
    for index, step in read(recipe.steps):
        yield from _step(index, recipe, quantized_at)
        if isinstance(step, Quantization):
            quantized_at = index


@ends_at_holes
def _step(index: int, recipe: Recipe, quantized_at: int | None) -> Mistakes:
    step, path = recipe.steps[index], ("steps", index)
    if isinstance(step, Quantization):
        if quantized_at is not None:
            yield path, f"steps.{quantized_at} has already quantized the model"
        yield from _inside(path, quantization.mistakes(step, recipe))
        return
    if quantized_at is not None:
        yield (
            path,
            (
                f"'{step.method}' changes a torch module, but steps.{quantized_at} has "
                "already made quantized files; move it before the quantize step"
            ),
        )
    if isinstance(step, DistillStep) and step.teacher is None:
        yield path, "needs a teacher: 'teacher: baseline' or a model block"
    if isinstance(step, DistillStep) and recipe.data.train is None:
        yield path, "trains, which needs data.train"
    if isinstance(step, PruneStep):
        has_train = recipe.data.train is not None
        yield from _inside(path, pruning.mistakes(step, has_train=has_train))


def _inside(path: Path_, mistakes: Mistakes) -> Mistakes:
    """Put a step's own mistakes at its place in the recipe."""
    for place, what in mistakes:
        yield (*path, *place), what


def _names(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    for index, _ in read(recipe.steps):
        yield from _inside(("steps", index), _losses(recipe.steps[index], recipe))
        yield from _inside(("steps", index), _names_of(recipe.steps[index]))


@ends_at_holes
def _losses(step: Step, recipe: Recipe) -> Mistakes:
    settings = step.finetune if isinstance(step, PruneStep) else step
    for number, loss in read(getattr(step, "losses", ())):
        batch_size = settings.batch_size if isinstance(settings, TrainSettings) else 1
        found = ends_at_holes(losses.mistakes)(loss, batch_size, recipe.task)
        yield from _inside(("losses", number), found)


@ends_at_holes
def _names_of(step: Step) -> Mistakes:
    if not isinstance(step, Quantization):
        return
    known = plugins.names(plugins.BACKENDS)
    if not is_hole(step.backend) and step.backend not in {"auto", *known}:
        yield ("backend",), unknown_name("backend", step.backend, ["auto", *known])
    yield from _inside(("calibrator",), calibrators.mistakes(step.calibrator))


def _gates(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    for index, gate in read(recipe.gates):
        yield from _inside(("gates", index), _gate(gate, recipe))


@ends_at_holes
def _gate(gate: Gate, recipe: Recipe) -> Mistakes:
    yield from _gate_target(gate, recipe)
    available = tasks.spec_of(recipe.task).metric_names
    if isinstance(gate, AccuracyGate) and gate.metric not in available:
        yield ("metric",), tasks.not_available(gate.metric, recipe.task, available)


@ends_at_holes
def _gate_target(gate: Gate, recipe: Recipe) -> Mistakes:
    target = getattr(gate, "target", None)
    labels = {target.label for target in recipe.targets}
    if target is not None and target not in labels:
        yield ("target",), unknown_name("target", target, labels)
