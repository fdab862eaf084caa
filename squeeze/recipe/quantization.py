"""Cross-checks of a quantize step; places are inside the step."""

from collections.abc import Iterator, Sequence

from squeeze.core import plugins, specs, tasks
from squeeze.core.errors import InputError
from squeeze.recipe import schemes
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import ends_at_holes, read
from squeeze.recipe.schema import QatStep, Quantization, QuantizeStep, Recipe, Target


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
    tuning = [name for name, spec in specs.backends().items() if spec.autotunes]
    if autotunes and step.backend not in tuning:
        what = (
            " or ".join(f"'backend: {name}'" for name in tuning)
            or "a backend that is not installed"
        )
        yield ("autotune",), f"needs {what}"
    task = tasks.spec_of(recipe.task)
    if autotunes and task.labels != "classes":
        yield ("autotune",), f"needs one class per image, found task {recipe.task}"
    mixed = step.mixed_precision if isinstance(step, QuantizeStep) else None
    available = ("auto", *task.metric_names)
    if mixed is not None and mixed.metric not in available:
        what = tasks.not_available(mixed.metric, recipe.task, available)
        yield ("mixed_precision", "metric"), what
    yield from _backend(step)
    yield from _without_effect(step, recipe.targets)
    if isinstance(step, QatStep):
        if recipe.data.train is None:
            yield (), "trains, which needs data.train"
        if step.precision != "fp32":
            what = f"found {step.precision}, allowed: fp32; int8 is simulated in it"
            yield ("precision",), what


@ends_at_holes
def _backend(step: Quantization) -> Iterator[tuple[Path_, str]]:
    """Yield what a backend cannot do; one that does not exist is reported elsewhere."""
    if step.backend not in plugins.names(plugins.BACKENDS):
        return
    try:
        spec = specs.backend(step.backend)
    except InputError as error:
        yield ("backend",), str(error)
        return
    refused = schemes.backend_refusal(step.scheme, step.backend)
    if refused is not None:
        yield ("backend",), refused
    missing = spec.missing()
    if missing:
        yield ("backend",), specs.not_installed(step.backend, missing, spec.install)


@ends_at_holes
def _without_effect(step: Quantization, targets: Sequence[Target]) -> Iterator[tuple[Path_, str]]:
    """Yield the keys that none of the backends that make files reads."""
    known, fields = specs.backends(), type(step).model_fields
    names = {
        schemes.backend_of(step.backend, target.runtime)
        for _, target in read(targets)
        if target.runtime in specs.runtimes() and schemes.left_out(step, target) is None
    }
    used = {name: known[name].ignores for name in sorted(names) if name in known}
    for key in fields:
        is_given = getattr(step, key) != fields[key].default
        if is_given and used and all(key in ignored for ignored in used.values()):
            yield (key,), f"has no effect on backend {', '.join(used)}"


def nowhere(step: Quantization, targets: Sequence[Target]) -> str | None:
    """Return why no target at all takes the quantized model, or None where one does."""
    reasons = {target.label: schemes.left_out(step, target) for target in targets}
    if not all(reasons.values()):
        return None
    listed = "; ".join(f"{label}: {reason}" for label, reason in reasons.items())
    return f"the quantize step makes {step.scheme} files, which no target takes: {listed}"
