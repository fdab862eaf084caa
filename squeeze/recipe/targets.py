"""Checks of targets: whether their runtimes are there, and what they get of the quantize step."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from squeeze.core import cpu, plugins, specs
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe import quantization, schemes
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import Mistakes, ends_at_holes, is_hole, read
from squeeze.recipe.schema import Quantization, Recipe, Target


def mistakes(recipe: Recipe, folder: Path) -> Mistakes:
    """Yield what targets cannot hold, do not get, or lack on this machine."""
    del folder
    seen: dict[str, int] = {}
    quantize = _quantization(recipe)
    for index, target in read(recipe.targets):
        yield from _named(target, index, seen)
        yield from _target(target, ("targets", index), quantize)
    nowhere = quantization.nowhere(quantize, recipe.targets) if quantize is not None else None
    if nowhere is not None:
        yield ("targets",), nowhere


def _quantization(recipe: Recipe) -> Quantization | None:
    """Return the quantize step; where a step could not be read, which may be it, that hole."""
    found = next((step for _, step in read(recipe.steps) if isinstance(step, Quantization)), None)
    hole = next(filter(is_hole, recipe.steps), None)
    return cast("Quantization | None", hole) if found is None else found


@ends_at_holes
def _named(target: Target, index: int, seen: dict[str, int]) -> Mistakes:
    first = seen.setdefault(target.label, index)
    if first != index and target.runtime in plugins.names(plugins.RUNTIMES):
        what = f"has the name '{target.label}' of targets.{first}; give one of them another 'name'"
        yield ("targets", index), what


@ends_at_holes
def _target(target: Target, path: Path_, quantize: Quantization | None) -> Mistakes:
    known = plugins.names(plugins.RUNTIMES)
    if target.runtime not in known:
        yield (*path, "runtime"), unknown_name("runtime", target.runtime, known)
        return
    try:
        spec = specs.runtime(target.runtime)
    except InputError as error:
        yield (*path, "runtime"), str(error)
        return
    missing = spec.missing()
    if missing and not target.if_available:
        what = specs.not_installed(target.runtime, missing, spec.install)
        yield (*path, "runtime"), f"{what} or set if_available: true"
    yield from _holding(target, path, quantize)
    yield from _cpu(target, path, quantize)
    yield from _made_for(target, path, quantize)


@ends_at_holes
def _holding(target: Target, path: Path_, quantize: Quantization | None) -> Mistakes:
    """Yield what a target cannot hold, or does not get."""
    holds = schemes.precisions(target.runtime, target.device, cpu.named(target.cpu))
    spec = specs.runtime(target.runtime)
    if holds is None:
        devices = ", ".join(spec.precisions)
        what = f"{target.runtime} runs on {devices} only here, found {target.device}"
        yield (*path, "device"), what
    elif target.precision not in {"auto", *holds}:
        yield (
            (*path, "precision"),
            (
                f"{target.runtime} on {target.device} cannot hold "
                f"{target.precision}, allowed: auto, {', '.join(holds)}"
            ),
        )
    elif target.precision not in {"auto", "fp32"} and not spec.runs_bundles:
        if quantize is not None and schemes.left_out(quantize, target) is None:
            return
        what = f"is {target.precision}, but no step quantizes to it for this runtime"
        yield (*path, "precision"), what


@ends_at_holes
def _cpu(target: Target, path: Path_, quantize: Quantization | None) -> Mistakes:
    if target.cpu != "host" and not _depends_on_cpu(target, quantize):
        what = "decides how int8 and fp16 files are made, and this target gets none"
        yield (*path, "cpu"), what


@ends_at_holes
def _made_for(target: Target, path: Path_, quantize: Quantization | None) -> Mistakes:
    """Yield that nothing installed makes the quantized files of a runtime."""
    if quantize is None or schemes.left_out(quantize, target) is not None:
        return
    if quantize.backend != "auto":
        return
    backend = schemes.backend_of(quantize.backend, target.runtime)
    known = plugins.names(plugins.BACKENDS)
    if backend not in known:
        what = (
            f"no quantization backend '{backend}' is installed, which would make the files of "
            f"{target.runtime}; installed: {', '.join(sorted(known))}"
        )
        yield (*path, "runtime"), what
        return
    yield from (((*path, "runtime"), what) for what in _own_backend(backend, target))


def _own_backend(name: str, target: Target) -> Iterator[str]:
    """Yield what the backend that 'auto' stands for cannot do."""
    try:
        spec = specs.backend(name)
    except InputError as error:
        yield str(error)
        return
    missing = spec.missing()
    if missing and not target.if_available:
        yield f"backend {specs.not_installed(name, missing, spec.install)}"


def _depends_on_cpu(target: Target, quantize: Quantization | None) -> bool:
    """Tell whether it matters which processor a target names."""
    made = None if quantize is None else quantize.scheme
    half = "fp16" in {target.precision, made}
    return target.device == "cpu" and (not specs.runtime(target.runtime).runs_bundles or half)
