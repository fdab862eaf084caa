"""What each quantization scheme makes, what it takes, and which runtimes hold it."""

from dataclasses import dataclass

from squeeze.core import cpu, specs
from squeeze.recipe.schema import Quantization, Target


@dataclass(frozen=True)
class Scheme:
    """One scheme of the quantize step.

    Attributes:
        precision: What a report's row calls its files.
        calibrates: Whether it needs calibration samples.
        int8_weights: Whether its weights are int8, so that rounding them can lose accuracy.
        activation_bits: Of activations whose ranges come from calibration; None where none do.
    """

    precision: str
    calibrates: bool = False
    int8_weights: bool = True
    activation_bits: int | None = None


SCHEMES = {
    "static_int8": Scheme("int8", calibrates=True, activation_bits=8),
    "qat_int8": Scheme("int8", calibrates=True, activation_bits=8),
    "dynamic_int8": Scheme("int8_dynamic"),
    "weight_only_int8": Scheme("int8_weights"),
    "static_int8_int16": Scheme("int8_int16", calibrates=True, activation_bits=16),
    "fp16": Scheme("fp16", int8_weights=False),
    "bf16": Scheme("bf16", int8_weights=False),
}


def precisions(runtime: str, device: str, machine: cpu.Cpu) -> tuple[str, ...] | None:
    """Return what a runtime can hold on a CPU, or None where it does not run."""
    spec = specs.runtime(runtime)
    holds = spec.precisions.get(device)
    if holds and device == "cpu" and spec.fp16_emulated and not machine.has_fp16:
        return tuple(name for name in holds if name != "fp16")
    return holds


def backend_of(backend: str, runtime: str) -> str:
    """Return the backend for a runtime: the one that is asked for, or the runtime's own."""
    return specs.runtime(runtime).backend or runtime if backend == "auto" else backend


def is_int8(precision: str) -> bool:
    """Whether a row's file has int8 weights."""
    return precision.startswith("int8")


def half_warning(scheme: str, runtime: str, machine: cpu.Cpu) -> str | None:
    """Return a warning about half-precision files that a CPU only stores, or None.

    Args:
        scheme: One of ``SCHEMES``.
        runtime: Of a target.
        machine: The CPU that will serve the file.
    """
    spec = specs.runtimes().get(runtime)  # a report may be written where a plug-in is missing
    if scheme != "fp16" or spec is None or spec.runs_bundles:
        return None
    if not machine.has_fp16:
        why = f"{machine.model} has no fp16 arithmetic"
    else:
        why = spec.fp16_widened or (spec.fp16_widened_on_x86 if machine.is_x86 else "")
    if not why:
        return None
    return (
        f"fp16 is storage only: {why}, so weights are widened to float32 before they are used; "
        "the file is half as large, its arithmetic the same"
    )


def refusal(scheme: str, runtime: str, device: str, machine: cpu.Cpu) -> str | None:
    """Return why a runtime cannot hold a scheme, or None.

    Args:
        scheme: One of ``SCHEMES``.
        runtime: Of a target.
        device: ``cpu`` or ``cuda``.
        machine: The CPU that will serve it.
    """
    spec = specs.runtime(runtime)
    holds = spec.precisions.get(device)
    if holds is None:  # the device itself is the mistake
        return None
    kind = SCHEMES[scheme].precision.partition("_")[0]
    why = spec.refuses.get(scheme) or spec.refuses.get(kind)
    if why is not None:
        return why
    if kind not in holds:
        return f"{runtime} on {device} cannot hold {kind}, allowed: {', '.join(holds)}"
    if scheme == "fp16" and device == "cpu" and spec.fp16_emulated and not machine.has_fp16:
        others = [name for name in holds if name not in {"fp16", "fp32"}]
        others += ["fp16 on device: cuda"] if "cuda" in spec.precisions else []
        return (
            f"{machine.model} has no fp16 arithmetic, without which {spec.fp16_emulated}; "
            f"allowed: {', or '.join(others) or 'fp32'}"
        )
    return None


def left_out(step: Quantization, target: Target) -> str | None:
    """Return why a quantize step's model does not go to a target, or None.

    None also where the runtime or the backend cannot be used, which is reported at its own place.
    """
    if target.runtime not in specs.runtimes():
        return None
    made, wanted = SCHEMES[step.scheme].precision, target.precision
    if wanted == "fp32":
        return "the target asks for fp32"
    if wanted not in {"auto", made} and not (wanted == "int8" and is_int8(made)):
        return f"the target asks for {wanted}, the quantize step makes {made}"
    refused = refusal(step.scheme, target.runtime, target.device, cpu.named(target.cpu))
    name = backend_of(step.backend, target.runtime)
    chosen = specs.backends().get(name)
    if refused is not None or chosen is None:
        return refused
    if target.runtime not in chosen.runtimes:
        return f"the quantize step's backend is {name}"
    return backend_refusal(step.scheme, name) if step.backend == "auto" else None


def backend_refusal(scheme: str, backend: str) -> str | None:
    """Return why a backend cannot make a scheme, or None."""
    takes = specs.backend(backend).schemes
    return (
        None if scheme in takes else f"{backend} cannot make {scheme}, allowed: {', '.join(takes)}"
    )
