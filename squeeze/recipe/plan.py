"""Cross-checks of a valid recipe that need neither torch nor the data.

Each check is a function from a recipe to mistakes; ``problems`` runs them all.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from squeeze.core import cpu, permission, plugins, reading
from squeeze.core.errors import Problem, RecipeError, unknown_name
from squeeze.recipe import (
    boxes,
    bundles,
    calibrators,
    dataset_formats,
    losses,
    pruning,
    quantization,
    schemes,
    two_stage,
    untrained,
)
from squeeze.recipe.document import Path_
from squeeze.recipe.load import LoadedRecipe
from squeeze.recipe.schema import (
    LIBRARIES,
    METRICS,
    RANDOM,
    AccuracyGate,
    CalibrationDraw,
    DataSource,
    DistillStep,
    ModelBlock,
    PruneStep,
    Quantization,
    Recipe,
    SyntheticCalibration,
    Target,
    TrainSettings,
)

Mistakes = Iterator[tuple[Path_, str]]

MODULES = {
    "pytorch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "litert": ("ai_edge_litert", "litert_torch", "ai_edge_quantizer"),
}
"""What each built-in runtime cannot do without."""

EXTRAS = {"onnxruntime": "onnx", "litert": "litert"}

NEEDS = {
    "image_folder": ("path",),
    "idx": ("path",),
    "function": ("build",),
    "torchvision": ("name",),
    "coco": ("path", "annotations"),
    "voc": ("path",),
    "yolo": ("path",),
}
"""The keys that each built-in dataset format cannot do without."""

BOXES = {"class_map", "on_bad_boxes"}
"""The keys of formats whose labels are boxes."""

USES = {
    "digits": {"split"},
    "image_folder": {"path"},
    "idx": {"path", "split"},
    "function": {"build", "args", "split"},
    "torchvision": {"name", "path", "args", "split"},
    "coco": {"path", "annotations"} | BOXES,
    "voc": {"path", "image_set"} | BOXES,
    "yolo": {"path", "image_set"} | BOXES,
    "digit_scenes": {"split", "args"},
}
"""The keys that each built-in dataset format looks at, besides those of every format."""


_NO_TRANSFORMERS = "transformers is not installed; pip install 'squeeze[transformers]'"
_EXPORTED = (".onnx", ".tflite")
_NO_WAY_BACK = (
    "is an exported file, float or quantized, and steps change torch models: give the bundle or "
    "the factory and weights that it was made from (squeeze inspect, eval and bench take it as it "
    "is)"
)


def check(loaded: LoadedRecipe) -> None:
    """Raise if the recipe cannot work.

    Raises:
        RecipeError: With every mistake, each at its place in the file.
    """
    found = [
        Problem(loaded.source.where(path), f"{'.'.join(map(str, path))}: {what}")
        for part in (_models, _data, _boxes, _steps, _names, _targets, _gates)
        for path, what in part(loaded.recipe, loaded.folder)
    ]
    if found:
        raise RecipeError(found)


def missing_modules(runtime: str) -> list[str]:
    """Return the packages that a built-in runtime needs and that are not installed."""
    return [name for name in MODULES.get(runtime, ()) if find_spec(name) is None]


def not_installed(runtime: str, missing: list[str]) -> str:
    """Return the sentence for a runtime whose packages are missing."""
    extra = EXTRAS.get(runtime, "all")
    return f"{runtime} is not installed (no {', '.join(missing)}); pip install 'squeeze[{extra}]'"


def _models(recipe: Recipe, folder: Path) -> Mistakes:
    yield from _model(recipe.model, ("model",), folder)
    if recipe.baseline is None and (what := untrained.reason(recipe.model, folder)):
        yield ("model",), what + untrained.cure(trains=True)
    for index, step in enumerate(recipe.steps):
        for key in ("teacher", "student"):
            block = getattr(step, key, None)
            if isinstance(block, ModelBlock):
                yield from _model(block, ("steps", index, key), folder)
        teacher = getattr(step, "teacher", None)
        if isinstance(teacher, ModelBlock) and (what := untrained.reason(teacher, folder)):
            yield ("steps", index, "teacher"), what + untrained.cure(trains=False)


def _model(block: ModelBlock, path: Path_, folder: Path) -> Mistakes:
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
            f"{block.weights} is a folder without architecture.json, so it is no bundle",
        )
        return
    if find_spec("transformers") is None:
        yield (*path, "weights"), _NO_TRANSFORMERS
    if block.build is not None:
        yield (*path, "build"), f"{block.weights} tells what to build: leave this out"
    if block.input is None and path == ("model",):
        yield path, "needs 'input', for example {shape: [3, 640, 640], fit: stretch}"


def _absent(weights: str, folder: Path) -> str | None:
    """Return why there is no such file of weights, or None."""
    if weights.endswith(_EXPORTED):
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
    if text.endswith(_EXPORTED):
        yield path, f"{text} {_NO_WAY_BACK}"
    elif not colon or not head or not tail:
        yield (
            path,
            f"found '{text}', allowed: {permission.FORMS}",
        )
    elif permission.in_standard_library(text):
        yield path, f"{text} is of Python's standard library, which builds neither models nor data"
    elif head.endswith(".py") and not reading.is_file(folder / head):
        yield path, f"no such file: {reading.shortened(head)}"
    elif head == "timm" and find_spec("timm") is None:
        yield path, "timm is not installed; pip install 'squeeze[timm]'"
    elif head == "transformers" and find_spec("transformers") is None:
        yield path, _NO_TRANSFORMERS


def _data(recipe: Recipe, folder: Path) -> Mistakes:
    for role in ("train", "validation", "calibration"):
        source = getattr(recipe.data, role)
        if isinstance(source, DataSource):
            yield from _source(source, ("data", role), folder)
        if isinstance(source, CalibrationDraw) and getattr(recipe.data, source.source) is None:
            yield (
                ("data", role, "from"),
                f"draws from '{source.source}', but data.{source.source} is not given",
            )
    if recipe.baseline is not None and recipe.data.train is None:
        yield ("baseline", "train"), "needs data.train"
    if isinstance(recipe.data.calibration, SyntheticCalibration):
        yield from _made_up(recipe)


def _made_up(recipe: Recipe) -> Mistakes:
    """Tell what synthetic images cannot do: they have no labels, and know the loaded model only."""
    path = ("data", "calibration")
    if recipe.baseline is not None:
        yield path, "is synthetic, which knows no trained baseline; use {from: train}"
    for index, step in enumerate(recipe.steps):
        mixed = getattr(step, "mixed_precision", None)
        by_label = mixed is not None and mixed.metric != "agreement" and recipe.data.train is None
        if by_label or getattr(step, "autotune", None) is not None:
            key = "mixed_precision" if by_label else "autotune"
            yield ("steps", index, key), "measures on labels, which synthetic images do not have"


def _source(source: DataSource, path: Path_, folder: Path) -> Mistakes:
    formats = plugins.names(plugins.DATASETS)
    for key in NEEDS.get(source.format, ()):
        if getattr(source, key) is None:
            yield path, f"format '{source.format}' needs '{key}'"
    if source.format not in formats:
        yield (*path, "format"), unknown_name("format", source.format, formats)
    elif source.format in USES:
        yield from _inside(path, dataset_formats.unused(source, USES[source.format]))
    else:
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
    for index, step in enumerate(recipe.steps):
        path = ("steps", index)
        if isinstance(step, Quantization):
            if quantized_at is not None:
                yield path, f"steps.{quantized_at} has already quantized the model"
            quantized_at = index
            yield from _inside(path, quantization.mistakes(step, recipe))
            continue
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
            for place, what in pruning.mistakes(step, has_train=recipe.data.train is not None):
                yield (*path, *place), what
            missing = missing_modules(step.speedup.runtime) if step.speedup else []
            if step.speedup and missing:
                yield (*path, "speedup", "runtime"), not_installed(step.speedup.runtime, missing)


def _inside(path: Path_, mistakes: Mistakes) -> Mistakes:
    """Put a step's own mistakes at its place in the recipe."""
    for place, what in mistakes:
        yield (*path, *place), what


def _names(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    for index, step in enumerate(recipe.steps):
        settings = step.finetune if isinstance(step, PruneStep) else step
        for number, loss in enumerate(getattr(step, "losses", ())):
            batch_size = settings.batch_size if isinstance(settings, TrainSettings) else 1
            for place, what in losses.mistakes(loss, batch_size, recipe.task):
                yield ("steps", index, "losses", number, *place), what
        if isinstance(step, Quantization):
            for place, what in calibrators.mistakes(step.calibrator):
                yield ("steps", index, "calibrator", *place), what
            known = plugins.names(plugins.BACKENDS)
            if step.backend not in {"auto", *known}:
                yield (
                    ("steps", index, "backend"),
                    unknown_name("backend", step.backend, ["auto", *known]),
                )


def _targets(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    known = plugins.names(plugins.RUNTIMES)
    seen: dict[str, int] = {}
    quantize = next((s for s in recipe.steps if isinstance(s, Quantization)), None)
    for index, target in enumerate(recipe.targets):
        path = ("targets", index)
        if target.runtime not in known:
            yield (*path, "runtime"), unknown_name("runtime", target.runtime, known)
            continue
        if target.label in seen:
            yield (
                path,
                (
                    f"is called '{target.label}' like targets.{seen[target.label]}; "
                    "give one of them a 'name'"
                ),
            )
        seen.setdefault(target.label, index)
        yield from _target(target, path, quantize)
    nowhere = quantization.nowhere(quantize, recipe.targets) if quantize else None
    if nowhere is not None:
        yield ("targets",), nowhere


def _target(target: Target, path: Path_, quantize: Quantization | None) -> Mistakes:
    missing = missing_modules(target.runtime)
    if missing and not target.if_available:
        what = not_installed(target.runtime, missing)
        yield (*path, "runtime"), f"{what} or set if_available: true"
    holds = schemes.precisions(target.runtime, target.device, cpu.named(target.cpu))
    if target.cpu != "host" and not _cares_for_its_cpu(target, quantize):
        what = "decides how int8 and fp16 files are made, and this target takes none"
        yield (*path, "cpu"), what
    if holds is None and target.runtime in MODULES:
        yield (*path, "device"), f"{target.runtime} runs on cpu only here, found {target.device}"
    elif holds is not None and target.precision not in {"auto", *holds}:
        yield (
            (*path, "precision"),
            (
                f"{target.runtime} on {target.device} cannot hold "
                f"{target.precision}, allowed: auto, {', '.join(holds)}"
            ),
        )
    elif target.precision not in {"auto", "fp32"} and target.runtime != "pytorch":
        if quantize is not None and schemes.left_out(quantize, target) is None:
            return
        what = f"is {target.precision}, but no step quantizes to it for this runtime"
        yield (*path, "precision"), what


def _cares_for_its_cpu(target: Target, quantize: Quantization | None) -> bool:
    """Tell whether it matters which processor a target names."""
    made = None if quantize is None else quantize.scheme
    half = "fp16" in {target.precision, made}
    return target.device == "cpu" and (target.runtime != "pytorch" or half)


def _gates(recipe: Recipe, folder: Path) -> Mistakes:
    del folder
    labels = {target.label for target in recipe.targets}
    for index, gate in enumerate(recipe.gates):
        target = getattr(gate, "target", None)
        if target is not None and target not in labels:
            yield ("gates", index, "target"), unknown_name("target", target, labels)
        if isinstance(gate, AccuracyGate) and gate.metric not in METRICS[recipe.task]:
            allowed = ", ".join(METRICS[recipe.task])
            what = f"{gate.metric} is not of task {recipe.task}, allowed: {allowed}"
            yield ("gates", index, "metric"), what
