"""What each quantization scheme makes, what it takes, and which runtimes hold it."""

from dataclasses import dataclass

from squeeze.core import cpu
from squeeze.recipe.schema import Quantization, Target


@dataclass(frozen=True)
class Scheme:
    """One scheme of the quantize step.

    Attributes:
        precision: What a row of it is said to hold.
        calibrates: Whether it cannot do without calibration samples.
        int8_weights: Whether its weights are int8, so that rounding them can lose accuracy.
        activation_bits: Of activations whose ranges calibration sets; None where none are set.
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

PRECISIONS = {
    ("pytorch", "cpu"): ("fp32", "fp16", "bf16"),
    ("pytorch", "cuda"): ("fp32", "fp16", "bf16"),
    ("onnxruntime", "cpu"): ("fp32", "fp16", "int8"),
    ("litert", "cpu"): ("fp32", "fp16", "int8"),
}
"""What each built-in runtime can hold, by device."""

_TAKES = {"neural_compressor": ("static_int8", "fp16")}
"""The schemes of backends that do not make all that their runtime holds.

neural-compressor's dynamic graphs and bf16 modules do not become ONNX files that run: the exporter
has no operator for ranges found while running, ONNX Runtime no bfloat16 convolution on the CPU.
"""

_OWN_GRID = {"neural_compressor"}
"""Backends whose weights' grid is not the one that accuracy recovery rounds to."""

_RUNTIME_OF = {"neural_compressor": "onnxruntime"}
"""Runtimes of the backends that are not called after theirs."""

_BF16 = {
    "onnxruntime": "ONNX Runtime has no bfloat16 convolution on the CPU",
    "litert": "LiteRT has no bfloat16 convolution on the CPU",
}
_INT16 = (
    "ONNX Runtime has no 16-bit integer kernels on the CPU: products would run in float between "
    "conversions; allowed: static_int8, or a litert target"
)


def precisions(runtime: str, device: str, machine: cpu.Cpu) -> tuple[str, ...] | None:
    """Return what a built-in runtime can hold on a CPU, or None where it does not run."""
    holds = PRECISIONS.get((runtime, device))
    if holds and (runtime, device) == ("pytorch", "cpu") and not machine.has_fp16:
        return tuple(name for name in holds if name != "fp16")
    return holds


def runtime_of(backend: str) -> str:
    """Return the runtime whose files a backend makes."""
    return _RUNTIME_OF.get(backend, backend)


def backend_of(backend: str, runtime: str) -> str:
    """Return the backend for a runtime: the one that is asked for, or the runtime's own."""
    return runtime if backend == "auto" else backend


def takes_recovered(backend: str) -> bool:
    """Whether a backend keeps what accuracy recovery does to the weights."""
    return backend not in _OWN_GRID


def is_int8(precision: str) -> bool:
    """Whether a row's file has int8 weights."""
    return precision.startswith("int8")


def half_warning(scheme: str, runtime: str, machine: cpu.Cpu) -> str | None:
    """Return what to tell of half-precision files that a CPU only stores, or None.

    LiteRT's kernels (XNNPACK) compute in half precision where the application asks for it, and
    otherwise only for files whose metadata allows it, which ai-edge-quantizer does not write.

    Args:
        scheme: One of ``SCHEMES``.
        runtime: Of a target.
        machine: The CPU that will serve the file.
    """
    if scheme != "fp16" or runtime == "pytorch":
        return None
    if not machine.has_fp16:
        why = f"{machine.model} has no fp16 arithmetic"
    elif runtime == "litert":
        why = "litert computes in float32 unless the application asks for half precision"
    elif machine.is_x86:
        why = f"{runtime} computes in float32 on x86"
    else:
        return None
    return (
        f"fp16 is storage only: {why}, so weights are widened to float32 before they are used; "
        "the file is half as large, its arithmetic the same"
    )


def refusal(scheme: str, runtime: str, device: str, machine: cpu.Cpu) -> str | None:
    """Return why a runtime cannot hold a scheme, or None.

    Runtimes that are not built in are trusted to hold what they are asked for.

    Args:
        scheme: One of ``SCHEMES``.
        runtime: Of a target.
        device: ``cpu`` or ``cuda``.
        machine: The CPU that will serve it.
    """
    if (runtime, device) not in PRECISIONS:
        return None
    if runtime == "pytorch":
        return _refused_by_pytorch(scheme, device, machine)
    if scheme == "bf16":
        return f"{_BF16[runtime]}; allowed: fp16, or bf16 on a pytorch target"
    return _INT16 if scheme == "static_int8_int16" and runtime == "onnxruntime" else None


def _refused_by_pytorch(scheme: str, device: str, machine: cpu.Cpu) -> str | None:
    if SCHEMES[scheme].int8_weights:
        return "PyTorch runs bundles, which hold no int8; allowed: fp16, bf16"
    if scheme == "fp16" and device == "cpu" and not machine.has_fp16:
        return (
            f"{machine.model} has no fp16 arithmetic, without which PyTorch emulates it number by "
            "number; allowed: bf16, or fp16 on device: cuda"
        )
    return None


def left_out(step: Quantization, target: Target) -> str | None:
    """Return why a quantize step's model does not go to a target, or None."""
    made, wanted = SCHEMES[step.scheme].precision, target.precision
    if wanted == "fp32":
        return "the target asks for fp32"
    if wanted not in {"auto", made} and not (wanted == "int8" and is_int8(made)):
        return f"the target asks for {wanted}, the quantize step makes {made}"
    refused = refusal(step.scheme, target.runtime, target.device, cpu.named(target.cpu))
    if refused is None and step.backend != "auto" and runtime_of(step.backend) != target.runtime:
        return f"the quantize step's backend is {step.backend}"
    return refused


def backend_refusal(scheme: str, backend: str) -> str | None:
    """Return why a backend cannot make a scheme, or None."""
    takes = _TAKES.get(backend)
    if takes is None or scheme in takes:
        return None
    return f"{backend} cannot make {scheme}, allowed: {', '.join(takes)}"
