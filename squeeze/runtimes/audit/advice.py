"""Say in sentences why a file is slow or big, and what to do about it."""

from dataclasses import dataclass, replace

from squeeze.runtimes.base import Audit

_MANY_CONVERSIONS = 0.2
_FLOAT_SHARE = 0.5
_ENDS = 4  # quantize, transpose, transpose, dequantize: the ends of a whole int8 graph
_SMALL_BYTES = 4096  # below it, scales outweigh weights
_SMOOTH = {"HardSigmoid", "HardSwish", "Sigmoid", "Gelu", "Erf", "HARD_SWISH", "LOGISTIC", "GELU"}


@dataclass(frozen=True)
class Facts:
    """What the file says about itself.

    Attributes:
        runtime: The runtime's name for sentences.
        is_quantized: Whether anything in it is quantized.
        is_half: Whether it stores float16.
        is_dynamic: Whether activations are quantized while running.
        float_weights_bytes: Weights stored in float although a quantize node follows them.
        is_wide: Whether activations have 16 bits.
        undelegated: Operators that run outside the fast delegate.
    """

    runtime: str
    is_quantized: bool
    is_half: bool = False
    is_dynamic: bool = False
    float_weights_bytes: int = 0
    is_wide: bool = False
    undelegated: tuple[str, ...] = ()


def with_advice(found: Audit, facts: Facts) -> Audit:
    """Return the audit with its last paragraph."""
    return replace(found, advice=tuple(_sentences(found, facts)))


def _sentences(found: Audit, facts: Facts) -> list[str]:
    if not found.coverage.total:
        return ["It has no convolutions and no matrix products: there is nothing to run in int8."]
    said = [*_speed(found, facts), *_size(found, facts)]
    if not said:
        said = ["Nothing stands out: all convolutions and matrix products run in int8 kernels."]
    return said


def _speed(found: Audit, facts: Facts) -> list[str]:
    if not facts.is_quantized:
        half = f" It stores float16 and {facts.runtime} computes in float32 on this CPU."
        why = half if facts.is_half else ""
        return [f"Not quantized: everything runs in float.{why} squeeze quantize makes it int8."]
    said = []
    coverage = found.coverage
    if coverage.survivors:
        most, count = _most(found)
        said.append(
            f"Slow: {len(coverage.survivors)} of {coverage.total} convolutions and matrix products "
            f"do not run in int8 kernels. Most frequent reason ({count} of them): {most}."
        )
    if facts.is_wide:
        said.append(
            f"Slow: activations have 16 bits, which {facts.runtime} runs in unoptimised kernels "
            "here; 8-bit activations with better ranges are the fast way."
        )
    if facts.is_dynamic:
        said.append(
            "Activations are quantized while running: every layer measures its input's range first "
            "and gives its output in float. Static ranges (static_int8) spare both."
        )
    if found.islands:
        ops = {node.op for node in found.islands}
        cure = " ReLU instead of hard-swish, SiLU or GELU avoids them." if ops & _SMOOTH else ""
        said.append(
            f"Between integer operators, {len(found.islands)} run in float "
            f"({', '.join(sorted(ops))}), with conversions around them.{cure}"
        )
    conversions = sum(coverage.conversions.values())
    share = conversions / max(1, sum(found.operators.values()))
    if share > _MANY_CONVERSIONS and conversions > _ENDS:
        said.append(f"{share:.0%} of the nodes that run only convert types or layouts.")
    if facts.undelegated:
        said.append(
            f"{len(facts.undelegated)} of {sum(found.operators.values())} operators run outside of "
            f"XNNPACK, in slower built-in kernels: {', '.join(sorted(set(facts.undelegated)))}."
        )
    return said


def _size(found: Audit, facts: Facts) -> list[str]:
    if facts.float_weights_bytes:
        text = (
            f"Big: {facts.float_weights_bytes:,} bytes of weights are stored in float and "
            "quantized when the file is loaded; store them quantized (fold the weight quantizers) "
            "for a quarter of that."
        )
        return [text]
    total = sum(stored.size_bytes for stored in found.weights.values())
    in_float = sum(held.size_bytes for kind, held in found.weights.items() if kind == "float32")
    if facts.is_quantized and total > _SMALL_BYTES and in_float > _FLOAT_SHARE * total:
        return [f"Big: {in_float / total:.0%} of the weights' bytes are float32."]
    return []


def _most(found: Audit) -> tuple[str, int]:
    reasons = [node.reason for node in found.coverage.survivors]
    most = max(dict.fromkeys(reasons), key=reasons.count)
    return most, reasons.count(most)
