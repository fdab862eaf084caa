"""Cross-checks of a quantize step; places are inside the step."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from squeeze.recipe import schemes
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import ends_at_holes
from squeeze.recipe.schema import METRICS, QatStep, Quantization, QuantizeStep, Recipe, Target

_MODULES = {"neural_compressor": ("neural_compressor", "cpuinfo", "torchao")}
"""What backends that are not a runtime's own cannot do without."""

EXTRAS = {"neural_compressor": "neural-compressor"}

_UNUSED = {
    "neural_compressor": (
        "calibrator",
        "weight_bits",
        "recovery",
        "keep_float",
        "mixed_precision",
    )
}
"""The keys that say nothing to a backend."""


@ends_at_holes
def mistakes(step: Quantization, recipe: Recipe) -> Iterator[tuple[Path_, str]]:
    """Yield what is wrong with a quantize step."""
    autotunes = isinstance(step, QuantizeStep) and step.autotune is not None
    if recipe.data.calibration is None and (schemes.SCHEMES[step.scheme].calibrates or autotunes):
        what = (
            f"{step.scheme} needs calibration data; add for example "
            "data.calibration: {from: train, samples: 128}"
        )
        yield (), what
    if autotunes and step.backend != "neural_compressor":
        yield ("autotune",), "is of 'backend: neural_compressor', which is not asked for"
    if autotunes and recipe.task != "classification":
        yield ("autotune",), f"is of classification, found task {recipe.task}"
    mixed = step.mixed_precision if isinstance(step, QuantizeStep) else None
    allowed = ("auto", *METRICS[recipe.task], "agreement")
    if mixed is not None and mixed.metric not in allowed:
        what = f"{mixed.metric} is not of task {recipe.task}, allowed: {', '.join(allowed)}"
        yield ("mixed_precision", "metric"), what
    yield from _backend(step)
    if isinstance(step, QatStep):
        if recipe.data.train is None:
            yield (), "trains, which needs data.train"
        if step.precision != "fp32":
            what = f"found {step.precision}, allowed: fp32; int8 is simulated in it"
            yield ("precision",), what


@ends_at_holes
def _backend(step: Quantization) -> Iterator[tuple[Path_, str]]:
    """Yield what a backend cannot do."""
    fields = type(step).model_fields
    for key in _UNUSED.get(step.backend, ()):
        if key in fields and getattr(step, key) != fields[key].default:
            yield (key,), f"has no effect on backend {step.backend}"
    refused = schemes.backend_refusal(step.scheme, step.backend)
    if refused is not None:
        yield ("backend",), refused
    missing = missing_modules(step.backend)
    if missing:
        what = (
            f"{step.backend} is not installed (no {', '.join(missing)}); "
            f"pip install 'squeeze[{EXTRAS[step.backend]}]'"
        )
        yield ("backend",), what


def missing_modules(backend: str) -> list[str]:
    """Return the packages that a backend needs besides its runtime's and that are missing."""
    return [name for name in _MODULES.get(backend, ()) if find_spec(name) is None]


def nowhere(step: Quantization, targets: Sequence[Target]) -> str | None:
    """Return why no target at all takes the quantized model, or None where one does."""
    reasons = {target.label: schemes.left_out(step, target) for target in targets}
    if not all(reasons.values()):
        return None
    told = "; ".join(f"{label}: {reason}" for label, reason in reasons.items())
    return f"the quantize step makes {step.scheme} files, which no target takes: {told}"
